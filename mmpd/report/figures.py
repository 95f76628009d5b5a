"""The report's figures, each a string of SVG or PNG that a page holds inside. Grey lines and text read on light and
dark ground."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from matplotlib.figure import Figure
from mmdet.registry import DATASETS
from mmengine.config import Config

from ..align.plan import AlignmentPlan
from ..evaluation.measure import network_of
from ..evaluation.predict import Predictor
from .gather import Curve, Facts, NetworkFacts
from .pictures import COLOURS, best_score, draw_comparison, match

GREY = '#7a7a7a'
LINES = tuple(colour for colour in COLOURS if colour != '#f0e442')
"""Colours without yellow, which a thin line on white does not show."""
N_IMAGES = 60
"""Images of the split among which the gallery looks."""


def curves(named: Mapping[str, Curve], x: str, y: str, log: bool = False) -> str:
    """Lines with a legend, as SVG."""
    figure = Figure(figsize=(6.4, 3.2))
    axes = figure.add_subplot()
    for index, (name, points) in enumerate(named.items()):
        axes.plot(*zip(*points, strict=True), label=name, linewidth=1.6, **_line(index))
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    if log:
        axes.set_yscale('log')
    axes.legend(fontsize=8, frameon=False, labelcolor=GREY, loc='center left', bbox_to_anchor=(1, 0.5))
    return _svg(figure)


def _line(index: int) -> dict:
    """Colour and dashes of a curve: no two are alike among the first eighteen."""
    dashes = ('-', '--', ':')
    return dict(color=LINES[index % len(LINES)], linestyle=dashes[index // len(LINES) % len(dashes)])


def pareto(facts: Facts, metric: str = 'AP') -> str:
    """Accuracy against multiply-adds, as SVG; the line joins networks that no other beats in both."""
    figure = Figure(figsize=(6.4, 3.2))
    axes = figure.add_subplot()
    points = [(one.cost.macs / 1e9, 100 * one.measured.metrics.get(metric, 0), one.name) for one in facts.networks]
    front = [p for p in sorted(points) if not any(q[0] <= p[0] and q[1] > p[1] for q in points)]
    axes.plot([p[0] for p in front], [p[1] for p in front], color=GREY, linewidth=1, linestyle=':')
    for index, (macs, value, name) in enumerate(points):
        axes.plot(macs, value, 'o', color=LINES[index % len(LINES)])
        above = any(p[0] == macs and value < p[1] < value + 5 for p in points)  # its label takes the place
        offset = (6, -11) if above else (6, 4)
        axes.annotate(name, (macs, value), xytext=offset, textcoords='offset points', fontsize=9, color=GREY)
    axes.set_xscale('log')
    axes.margins(x=0.2, y=0.15)
    axes.set_xlabel('GMACs of one image')
    axes.set_ylabel(f'{metric}, per cent')
    return _svg(figure)


def levels(plan: AlignmentPlan) -> str:
    """AFP drawn: student levels on the left, guide levels on the right, by the size of their objects in HR pixels."""
    figure = Figure(figsize=(6.4, 3.4))
    axes = figure.add_subplot()
    student = [level.scaled(plan.ratio) for level in plan.student]
    for match_ in plan.matches:
        for guide in match_.guides:
            ends = [student[match_.student].size, plan.guide[guide].size]
            axes.plot([0, 1], ends, color=COLOURS[5] if match_.exact else COLOURS[0], linewidth=1.6, zorder=1)
    for x, side, own in ((0, student, plan.student), (1, plan.guide, plan.guide)):
        for index, (level, native) in enumerate(zip(side, own, strict=True)):
            axes.plot(x, level.size, 'o', color=GREY, markersize=8, zorder=2)
            text = f'level {index}, stride {native.stride:g}'
            align = dict(ha='right', x=-0.06) if x == 0 else dict(ha='left', x=1.06)
            axes.text(y=level.size, s=text, fontsize=9, color=GREY, va='center', **align)  # type: ignore[arg-type]
    axes.set_yscale('log', base=2)
    axes.set_xlim(-0.75, 1.75)
    axes.set_xticks([0, 1], ['student', 'guide'])
    axes.set_ylabel('typical object, HR pixels')
    return _svg(figure)


def gallery(facts: Facts, seed: int = 0) -> dict[str, str]:
    """Pictures that teach, as PNG data: where distillation gains most, where HR is still ahead most, and one by chance.

    Each network's boxes are those from its own best confidence; F1 at IoU 0.5 of an image decides what is "most".
    """
    student, hr = facts.student, facts.best_hr
    plain = facts.find(False, student)
    shown = [one for one in (hr, plain, student) if one is not None]
    predictors = [Predictor(network_of(Config.fromfile(one.folder / 'bench.py')), one.checkpoint) for one in shown]
    images = _images(student, facts.split)
    seen = [[(predict(file), boxes, labels) for file, boxes, labels, _ in images] for predict in predictors]
    scores = [best_score(found) for found in seen]
    f1 = np.array([[_f1(*one, score) for one in found] for found, score in zip(seen, scores, strict=True)])
    picks: dict[str, int] = {}
    if plain is not None:
        picks['Where the distilled student gains most over the plain one'] = int((f1[-1] - f1[-2]).argmax())
    if hr is not None:
        picks['Where HR is still ahead most'] = int((f1[0] - f1[-1]).argmax())
    picks['By chance'] = int(np.random.default_rng(seed).integers(len(images)))
    columns = [f'{one.name}, {one.size[0]}×{one.size[1]}' for one in shown]
    return {title: _comparison(columns, predictors, seen, images, scores, index) for title, index in picks.items()}


def first_image(facts: Facts) -> str:
    """File of the first image of the split that has an object."""
    return _images(facts.student, facts.split)[0][0]


def _images(network: NetworkFacts, split: str) -> list[tuple[str, np.ndarray, np.ndarray, tuple[int, int]]]:
    """(file, boxes, labels, (width, height)) of images with objects, spread evenly over the split."""
    loader = network_of(Config.fromfile(network.folder / 'bench.py'), split=split).config.test_dataloader
    dataset = DATASETS.build(loader.dataset)
    found = []
    for index in np.unique(np.linspace(0, len(dataset) - 1, N_IMAGES).astype(int)):
        info = dataset.get_data_info(int(index))
        kept = [item for item in info['instances'] if not item.get('ignore_flag')]
        if kept:
            boxes = np.array([item['bbox'] for item in kept], np.float32).reshape(-1, 4)
            labels = np.array([item['bbox_label'] for item in kept], int)
            found.append((info['img_path'], boxes, labels, (info['width'], info['height'])))
    return found


def _f1(found, boxes: np.ndarray, labels: np.ndarray, score: float) -> float:
    kept = found.scores >= score
    hits = match(found.boxes[kept], found.labels[kept], boxes, labels).sum()
    return float(2 * hits / max(kept.sum() + len(boxes), 1))


def _comparison(columns: Sequence[str], predictors, seen, images, scores: Sequence[float], index: int) -> str:
    _, boxes, labels, size = images[index]
    rows = [(boxes, labels, [found[index][0] for found in seen])]
    with TemporaryDirectory() as folder:
        path = Path(folder) / 'picture.png'
        draw_comparison(columns, rows, predictors[-1].classes, size, path, scores)
        return base64.b64encode(path.read_bytes()).decode()


def _svg(figure: Figure) -> str:
    """The figure as an <svg> element with a transparent ground."""
    for axes in figure.axes:
        axes.set_facecolor('none')
        axes.tick_params(colors=GREY, which='both', labelsize=8)
        axes.xaxis.label.set_color(GREY)
        axes.yaxis.label.set_color(GREY)
        for name, spine in axes.spines.items():
            spine.set_visible(name in ('left', 'bottom'))
            spine.set_color(GREY)
    text = io.StringIO()
    figure.savefig(text, format='svg', transparent=True, bbox_inches='tight')
    svg = text.getvalue()
    return svg[svg.index('<svg') :]
