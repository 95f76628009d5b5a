"""The table that says whether distillation pays: rows as stages of one chain, so that all share data and schedule."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from mmengine.config import Config, ConfigDict

from .chain import Chain, bench_config, needed_stages, read_chain
from .checkpoint import write_atomic
from .errors import ConfigError
from .runs import mean_sd
from .stages import finished_checkpoint, run_stages
from .testing import measure

ROWS = {
    'teacher': 'HR teacher',
    'hr_plain': 'HR, plain, as long as assistant + student',
    'assistant': 'HR assistant',
    'lr_plain': 'LR, plain, as long as assistant + student',
    'lr_init': "LR, plain, from the assistant's weights",
    'lr_isrd': 'lr_init + ISRD',
    'lr_feature': 'lr_init + feature',
    'lr_response': 'lr_init + response',
    'lr_fsr': 'lr_init + FSR',
    'student': 'LR student, the default terms',
    'one_stage': 'LR, teacher → student, as long as assistant + student',
}
"""Row name → what it is. Every row but the stages of the chain itself is derived from `assistant` and `student`."""

CONTROLS = ('lr_plain', 'lr_init')
QUICK_ROWS = ('lr_plain', 'lr_init', 'student')
TERM_DEFAULTS = {
    'isrd': dict(type='ISRDTerm', loss_weight=0.1),
    'feature': dict(type='FeatureTerm'),
    'response': dict(type='ResponseTerm'),
    'fsr': dict(type='FSRTerm'),
}


def ablation_chain(chain: Chain, seed: int = 0, epochs: int | None = None) -> Chain:
    """The chain with every row as a stage.

    Equal training: a row without the two stages behind it trains for the epochs of both.

    Args:
        seed: of every row.
        epochs: shorten every stage to this (the quick look).

    Raises:
        ConfigError: the chain has no stages `assistant` and `student`.
    """
    for name in ('assistant', 'student'):
        if name not in chain.stages:
            raise ConfigError(
                f'an ablation needs the stages assistant and student; this chain has {list(chain.stages)}'
            )
    config = Config(copy.deepcopy(chain.config.to_dict()), filename=chain.config.filename)
    stages = config.stages
    for stage in stages.values():
        if epochs is not None:
            stage['schedule'] = {**stage.get('schedule', {}), 'max_epochs': epochs, 'val_interval': epochs}
    lengths = {n: {**config.schedule, **stages[n].get('schedule', {})}['max_epochs'] for n in ('assistant', 'student')}
    both = dict(max_epochs=sum(lengths.values()))
    student = stages['student']
    stages['hr_plain'] = _plain(stages['assistant'], both)
    stages['lr_plain'] = _plain(student, both)
    stages['lr_init'] = _plain(student, {}, init_from='assistant')
    for term, default in TERM_DEFAULTS.items():
        row = copy.deepcopy(student)
        row['terms'] = {term: student.terms.get(term) or default}
        stages[f'lr_{term}'] = row
    if 'teacher' in stages:
        one_stage = copy.deepcopy(student)
        one_stage.update(guide='teacher', init_from=None, schedule={**student.get('schedule', {}), **both})
        stages['one_stage'] = one_stage
    config.randomness = {**config.get('randomness', {}), 'seed': seed}
    return read_chain(config)


def _plain(stage: ConfigDict, schedule: dict, init_from: str | None = None) -> ConfigDict:
    plain = copy.deepcopy(stage)
    plain.update(guide=None, terms=None, init_from=init_from, schedule={**stage.get('schedule', {}), **schedule})
    return plain


def in_order(chain: Chain, rows: Sequence[str]) -> list[str]:
    """The rows of an ablation chain and the stages that they need and that are not given, guides first.

    Raises:
        ConfigError: unknown row.
    """
    wanted, pending = set(), list(rows)
    while pending:
        row = pending.pop()
        if row not in chain.stages:
            raise ConfigError(f'--rows {row}: this chain has the rows {[r for r in ROWS if r in chain.stages]}')
        wanted.add(row)
        pending += [name for name in needed_stages(chain, row) if not chain.stages[name].get('checkpoint')]
    return [name for name in chain.stages if name in wanted]


def share_guides(chain: Chain, folder: Path) -> None:
    """Use the finished teacher and assistant of another seed in `folder` (one training of each, not one a seed)."""
    for name in ('teacher', 'assistant'):
        finished = finished_checkpoint(folder / name)
        if name in chain.stages and finished and not chain.stages[name].get('checkpoint'):
            chain.stages[name]['checkpoint'] = finished


def run_row(chain: Chain, row: str, work_dir: Path, out_dir: Path, splits: Iterable[str] = ('val',)) -> dict:
    """Train one row of an ablation chain, measure it, and write `<out_dir>/<row>_seed<seed>.json`.

    Finished work is reused, and a measured split is not measured again.
    """
    seed = chain.config.randomness.seed
    path = out_dir / f'{row}_seed{seed}.json'
    result = json.loads(path.read_text()) if path.is_file() else {}
    wanted = [split for split in splits if split not in result.get('metrics', {})]
    if not wanted:
        return result
    folder = work_dir / f'seed{seed}'
    checkpoint = run_stages(chain, folder, only=row)[row]
    done_file = folder / row / 'done.json'
    done = json.loads(done_file.read_text()) if done_file.is_file() else {}
    metrics, per_class = result.get('metrics', {}), result.get('per_class', {})
    for split in wanted:
        measured = measure(bench_config(chain, row), checkpoint, split)
        metrics[split], per_class[split] = measured.metrics, measured.per_class
    result = dict(
        row=row,
        seed=seed,
        config=chain.name,
        ratio=str(chain.ratio),
        reduction=chain.config.get('reduction', 'area'),
        pyramid=chain.config.get('student_pyramid', 'fine'),
        align=chain.stages[row].get('align', 'auto'),
        epochs=done.get('epochs'),
        seconds=done.get('seconds'),
        curve=val_curve(folder / row),
        metrics=metrics,
        per_class=per_class,
    )
    out_dir.mkdir(parents=True, exist_ok=True)
    write_atomic(json.dumps(result, indent=1).encode(), path)
    return result


def val_curve(folder: Path, metric: str = 'AP') -> dict[str, float]:
    """Epoch → metric on val while a stage trained, from mmengine's scalar logs in the stage's folder."""
    curve = {}
    for log in sorted(folder.glob('*/vis_data/scalars.json')):  # one a start; a resumed stage has several
        for line in log.read_text().splitlines():
            scalars = json.loads(line)
            if f'pd/{metric}' in scalars:
                curve[str(scalars['step'])] = scalars[f'pd/{metric}']
    return curve


def read_results(out_dir: Path) -> list[dict]:
    """Every row's JSON in a folder."""
    return [json.loads(path.read_text()) for path in sorted(out_dir.glob('*_seed*.json'))]


def summarise(results: Iterable[dict], split: str, metric: str) -> dict[str, tuple[float, float, int]]:
    """Row → (mean, sample standard deviation (0 for one seed), number of seeds) of a metric on a split."""
    values: dict[str, list[float]] = {}
    for result in results:
        if metric in result['metrics'].get(split, {}):
            values.setdefault(result['row'], []).append(result['metrics'][split][metric])
    return {row: (*mean_sd(v), len(v)) for row, v in values.items()}


def verdict(results: Sequence[dict], split: str, metric: str) -> str:
    """One sentence: the distilled student against the honest control, which is the stronger of the two plain rows."""
    rows = summarise(results, split, metric)
    controls = [row for row in CONTROLS if row in rows]
    if 'student' not in rows or not controls:
        return f'No verdict: rows student and one of {CONTROLS} are needed on {split}.'
    control = max(controls, key=lambda row: rows[row][0])
    (student, sd, seeds), (plain, plain_sd, _) = rows['student'], rows[control]
    gain = 100 * (student - plain)
    spread = 100 * max(sd, plain_sd)
    certain = 'one seed: no spread known' if seeds < 2 else f'spread between seeds {spread:.1f}'
    answer = 'Distillation pays here' if gain > spread else 'Distillation does not pay here'
    text = (
        f'{answer}: student {100 * student:.1f} {metric} against {100 * plain:.1f} of {control}, '
        f'{gain:+.1f} points on {split} ({certain}).'
    )
    guide = 100 * rows['assistant'][0] if 'assistant' in rows else None
    if guide is not None and guide <= 100 * plain:
        text += (
            f' Its guide, the assistant, has only {guide:.1f}: a guide no better than a plain student teaches nothing. '
            'Train the guides longer, or give trained ones as stages.assistant.checkpoint.'
        )
    return text
