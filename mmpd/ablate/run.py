"""The table that says whether distillation pays: rows as stages of one chain, so that all share data and schedule."""

from __future__ import annotations

import copy
import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict

from ..chain.chain import Chain, bench_config, needed_stages, read_chain, stage_config
from ..errors import ConfigError
from ..evaluation.measure import measure
from ..io.write import write_atomic
from ..run.seeds import mean_sd
from ..run.stages import fingerprint, finished_checkpoint, run_stages

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

HR_ROWS = ('teacher', 'hr_plain', 'assistant')
CONTROLS = ('lr_plain', 'lr_init')
SHORT = 10  # epochs of the student, below which a verdict is called a first look
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
        ConfigError: the chain has no stages `assistant` and `student`, or is of another task than detection.
    """
    if chain.config.get('task', 'detection') != 'detection':
        raise ConfigError(
            f'task = {chain.config.task!r}: the rows of an ablation are for detection; write plain stages into the '
            'chain as configs/classification/ablation_voc_crops.py does, and use tools/train.py --runs'
        )
    for name in ('assistant', 'student'):
        if name not in chain.stages:
            raise ConfigError(
                f'an ablation needs the stages assistant and student; this chain has {list(chain.stages)}'
            )
    config = Config(copy.deepcopy(chain.config.to_dict()), filename=chain.config.filename)
    stages = config.stages
    schedules = {name: {**config.schedule, **stage.get('schedule', {})} for name, stage in stages.items()}
    if epochs is not None:
        schedules = {name: {**_stretched(own, epochs), 'val_interval': epochs} for name, own in schedules.items()}
    for name, stage in stages.items():
        stage['schedule'] = schedules[name]
    both = sum(schedules[name]['max_epochs'] for name in ('assistant', 'student'))

    def row(like: str, **changes: Any) -> ConfigDict:
        derived = copy.deepcopy(stages[like])
        derived.pop('checkpoint', None)  # a row is trained, even where the stage that it derives from is given
        for key, value in changes.items():  # ConfigDict.update would merge
            derived[key] = value
        return derived

    plain = dict(guide=None, terms=None)
    stages['hr_plain'] = row('assistant', **plain, init_from=None, schedule=_stretched(schedules['assistant'], both))
    stages['lr_plain'] = row('student', **plain, init_from=None, schedule=_stretched(schedules['student'], both))
    stages['lr_init'] = row('student', **plain, init_from='assistant')
    for term, default in TERM_DEFAULTS.items():
        stages[f'lr_{term}'] = row('student', terms={term: stages['student'].terms.get(term) or default})
    if 'teacher' in stages:
        stages['one_stage'] = row(
            'student', guide='teacher', init_from=None, schedule=_stretched(schedules['student'], both)
        )
    config.randomness = {**config.get('randomness', {}), 'seed': seed}
    return read_chain(config)


def _stretched(schedule: dict, epochs: int) -> dict:
    """A schedule of another length; its learning rate falls at the same fractions of it."""
    stretched = {**schedule, 'max_epochs': epochs}
    if schedule.get('milestones'):
        scale = epochs / schedule['max_epochs']
        stretched['milestones'] = sorted({max(1, round(scale * milestone)) for milestone in schedule['milestones']})
    return stretched


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


def row_fingerprint(chain: Chain, row: str) -> str:
    """Hash of what decides a row's result: its config, those of its guides, and the content of given checkpoints."""
    pending, lineage = [row], {}
    while pending:
        name = pending.pop()
        given = chain.stages[name].get('checkpoint')
        if given:
            lineage[name] = hashlib.sha256(Path(given).read_bytes()).hexdigest() if Path(given).is_file() else given
        else:
            config = stage_config(chain, name, Path('work_dir'), {other: other for other in chain.stages})
            lineage[name] = fingerprint(config)
            pending += needed_stages(chain, name)
    return hashlib.sha256(json.dumps(lineage, sort_keys=True).encode()).hexdigest()[:16]


def refuse_other_options(chain: Chain, results: Iterable[dict], out_dir: Path) -> None:
    """Rows measured under other options are not to be mixed with those of `chain`, an ablation chain of one seed.

    Raises:
        ConfigError: naming the row's file and what to do.
    """
    for result in results:
        row, seed = result['row'], result['seed']
        same_seed = row in chain.stages and seed == chain.config.randomness.seed
        if same_seed and result.get('fingerprint') != row_fingerprint(chain, row):
            raise ConfigError(
                f'{out_dir / f"{row}_seed{seed}.json"} was measured with other options, or other guides, than those '
                'given now: use another --work-dir (and --out-dir), or remove the file'
            )


def run_row(chain: Chain, row: str, work_dir: Path, out_dir: Path, splits: Iterable[str] = ('val',)) -> dict:
    """Train one row of an ablation chain, measure it, and write `<out_dir>/<row>_seed<seed>.json`.

    Finished work is reused, and a measured split is not measured again.

    Raises:
        ConfigError: the row was measured with other options.
    """
    seed = chain.config.randomness.seed
    path = out_dir / f'{row}_seed{seed}.json'
    result = json.loads(path.read_text()) if path.is_file() else {}
    refuse_other_options(chain, [result] if result else [], out_dir)
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
        fingerprint=row_fingerprint(chain, row),
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
            try:
                scalars = json.loads(line)
            except ValueError:  # the machine stopped while this line was written
                continue
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
    """The distilled student against the honest control, the stronger of the two plain rows, in a sentence or three.

    A difference counts when it is more than two standard errors of the two means; of single seeds, more than a point.
    """
    rows = summarise(results, split, metric)
    controls = [row for row in CONTROLS if row in rows]
    if 'student' not in rows or not controls:
        return f'No verdict: rows student and one of {CONTROLS} are needed on {split}.'
    control = max(controls, key=lambda row: rows[row][0])
    (student, sd, seeds), (plain, plain_sd, plain_seeds) = rows['student'], rows[control]
    gain = 100 * (student - plain)
    if min(seeds, plain_seeds) > 1:
        doubt, certain = 200 * math.sqrt(sd**2 / seeds + plain_sd**2 / plain_seeds), 'two standard errors: '
        certain += f'{doubt:.1f}'
    else:
        doubt, certain = 1.0, 'one seed: no spread known'
    pays = 'Distillation pays here' if gain > doubt else 'Distillation does not pay here' if gain < -doubt else None
    text = (
        f'{pays or "No difference that these seeds could show"}: student {100 * student:.1f} {metric} against '
        f'{100 * plain:.1f} of {control}, {gain:+.1f} points on {split} ({certain}).'
    )
    missing = [row for row in CONTROLS if row not in rows]
    if missing:
        text += f' The other control, {missing[0]}, was not run.'
    epochs = next((result.get('epochs') for result in results if result['row'] == 'student'), None)
    if epochs and epochs < SHORT:
        text += f' All of it after {epochs} epochs: a first look.'
    guide = 100 * rows['assistant'][0] if 'assistant' in rows else None
    if guide is not None and guide <= 100 * plain:
        text += (
            f' Its guide, the assistant, has only {guide:.1f}: a guide no better than a plain student teaches nothing. '
            'Train the guides longer, or give trained ones as stages.assistant.checkpoint.'
        )
    return text
