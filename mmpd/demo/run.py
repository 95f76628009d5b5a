"""The demo: draw the set, train the chain of configs/pd_demo.py, measure every network, make a table and a picture."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
import torch
from mmdet.registry import DATASETS
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn

from ..chain.chain import Chain, read_chain
from ..evaluation.cost import network_cost
from ..evaluation.measure import measure, network_of, read_config
from ..evaluation.predict import Predictor
from ..io.write import write_atomic
from ..report.pictures import best_score, draw_comparison
from ..report.tables import Row, comparison_table, outcome_text
from ..run import stages
from ..run.progress import listening
from .draw import draw_demo_set

LABELS = {
    'teacher': 'HR teacher',
    'assistant': 'HR assistant',
    'plain': 'LR, undistilled',
    'student': 'LR, distilled',
}
# Time of one training epoch relative to the teacher's, measured on one core; only the remaining time depends on it.
EPOCH_COST = {'teacher': 1.0, 'assistant': 1.6, 'plain': 0.7, 'student': 1.2}
PICTURE_IMAGES = 2
N_VAL = 20  # images of val on which the least confidence of a drawn box is chosen


def run(config_file: str | Path, work_dir: str | Path, options: dict | None, console: Console) -> list[Row]:
    """The whole demo; what an earlier call finished is not done again.

    Args:
        config_file: configs/pd_demo.py, a chain with the stages of `LABELS` and `demo_set` (arguments of
            `draw_demo_set`).
        work_dir: data, stages, `demo.png` and `demo.json` go here.
        options: merged into the config.
        console: where the progress and the table are shown.

    Returns:
        A row per network, in the order of `LABELS`.
    """
    begin = time.time()
    torch.set_num_threads(1)  # networks this small gain nothing from more, and crawl where the cores are shared
    work_dir = Path(work_dir)
    os.environ['MMPD_DEMO_ROOT'] = str(work_dir / 'data')
    config = read_config(config_file, options)
    draw_demo_set(work_dir / 'data', **config.demo_set)
    chain = read_chain(config)
    before, stages.console.file = stages.console._file, console.file
    try:
        with overall_progress(chain, console):
            checkpoints = stages.run_stages(
                chain, work_dir, show=stages.Show(verbose=True)
            )  # all of it goes to demo.log
    finally:
        stages.console._file = before
    console.print('[bold]mmpd[/bold] measuring the four networks on the test images')
    rows = [_row(chain, name, checkpoints[name]) for name in LABELS]
    draw_picture(chain, checkpoints, work_dir / 'demo.png')
    _report(chain, rows, work_dir, console)
    console.print(f'[bold]mmpd[/bold] done in {_clock(time.time() - begin)}; all files are in {escape(str(work_dir))}')
    return rows


def _row(chain: Chain, name: str, checkpoint: str) -> Row:
    stage = chain.stages[name]
    cost = network_cost(stage.network, stage.image_size, name)
    return Row(LABELS[name], cost, measure(chain.config, checkpoint, stage=name))


def _report(chain: Chain, rows: list[Row], work_dir: Path, console: Console) -> None:
    by_name = dict(zip(LABELS, (row.measurement for row in rows), strict=True))
    text = outcome_text(by_name['student'], by_name['plain'], by_name['teacher'])
    epochs = {name: stage.schedule.max_epochs for name, stage in chain.stages.items()}
    console.print(comparison_table(rows, f'drawn test set, {chain.config.demo_set.n_test} images, ratio {chain.ratio}'))
    console.print(text, soft_wrap=True, style='bold')
    console.print(
        f'Both LR students start from the assistant and train {epochs["student"]} epochs; one of them is distilled. '
        f'Picture of the same test images: {escape(str(work_dir / "demo.png"))}',
        soft_wrap=True,
    )
    content = dict(
        verdict=text,
        epochs=epochs,
        networks={
            name: dict(
                size=row.cost.size,
                params=row.cost.params,
                macs=row.cost.macs,
                metrics=row.measurement.metrics,
                per_class=row.measurement.per_class,
            )
            for name, row in zip(LABELS, rows, strict=True)
        },
    )
    write_atomic(json.dumps(content, indent=1).encode(), work_dir / 'demo.json')


def draw_picture(chain: Chain, checkpoints: dict[str, str], path: Path) -> None:
    """HR teacher, undistilled and distilled LR student on test images spread evenly over the split: none is chosen.

    Each network's boxes are drawn from its own best confidence on val.
    """
    names = ('teacher', 'plain', 'student')
    predictors = [Predictor(network_of(chain.config, name), checkpoints[name]) for name in names]
    val = list(_images(chain, 'val', N_VAL))
    scores = [
        best_score([(predictor(file), boxes, labels) for file, boxes, labels, _ in val]) for predictor in predictors
    ]
    shown = list(_images(chain, 'test', PICTURE_IMAGES))
    rows = [(boxes, labels, [predictor(file) for predictor in predictors]) for file, boxes, labels, _ in shown]
    sides = ['{}×{}'.format(*chain.stages[name].image_size) for name in names]
    columns = [f'{LABELS[name]}, {side}' for name, side in zip(names, sides, strict=True)]
    draw_comparison(columns, rows, predictors[0].classes, shown[0][3], path, scores)


def _images(chain: Chain, split: str, count: int) -> Iterator[tuple[str, np.ndarray, np.ndarray, tuple[int, int]]]:
    """(file, boxes (g, 4), labels (g,), (width, height)) of images spread evenly over a split, original pixels."""
    dataset = DATASETS.build(network_of(chain.config, 'teacher', split).config.test_dataloader.dataset)
    for index in np.unique(np.linspace(0, len(dataset) - 1, count).astype(int)):
        info = dataset.get_data_info(int(index))
        boxes = np.array([item['bbox'] for item in info['instances']], np.float32).reshape(-1, 4)
        labels = np.array([item['bbox_label'] for item in info['instances']], int)
        yield info['img_path'], boxes, labels, (info['width'], info['height'])


@contextmanager
def overall_progress(chain: Chain, console: Console) -> Iterator[None]:
    """One bar over all stages, with the remaining time; a line every 20 s where the output is no terminal."""
    work = {name: stage.schedule.max_epochs * EPOCH_COST.get(name, 1.0) for name, stage in chain.stages.items()}
    before = dict(zip(work, np.cumsum([0.0, *work.values()]), strict=False))
    bar = Progress(
        TextColumn('{task.description}'), BarColumn(), TextColumn('{task.percentage:3.0f}% {task.fields[left]}'),
        console=console, redirect_stdout=False, redirect_stderr=False, transient=True,
    )  # fmt: skip
    task = bar.add_task('starting', total=sum(work.values()), left='')
    first: tuple[float, float] | None = None
    spoken = time.time()

    def show(name: str, mode: str, done: int, total: int) -> None:
        nonlocal first, spoken
        if mode != 'train':
            return
        completed, now = before[name] + work[name] * done / total, time.time()
        first = first or (completed, now)
        speed = (completed - first[0]) / max(now - first[1], 1e-9)
        left = f'{_clock((sum(work.values()) - completed) / speed)} left' if speed > 0 else ''
        bar.update(task, description=f'training {name}: {done}/{total}', completed=completed, left=left)
        if not console.is_terminal and now - spoken > 20:
            spoken = now
            console.print(f'mmpd training {name}: {done}/{total}, {completed / sum(work.values()):.0%} of all, {left}')

    with bar if console.is_terminal else nullcontext(), listening(show):
        yield


def _clock(seconds: float) -> str:
    return f'{int(seconds) // 60}:{int(seconds) % 60:02d} min'
