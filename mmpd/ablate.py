"""The table that says whether distillation pays: rows as stages of one chain, so that all share data and schedule."""

from __future__ import annotations

import copy
import json
import statistics
from collections.abc import Iterable
from pathlib import Path

from mmengine.config import Config, ConfigDict

from .chain import Chain, bench_config, needed_stages, read_chain
from .checkpoint import write_atomic
from .errors import ConfigError
from .stages import run_stages
from .testing import measure

ROWS = {
    'teacher': 'HR teacher',
    'hr_plain': "plain HR network of the student's architecture, assistant + student epochs",
    'assistant': 'HR assistant',
    'lr_plain': 'LR student, plain, assistant + student epochs',
    'lr_init': "LR student, plain, from the assistant's weights",
    'lr_isrd': '+ ISRD alone',
    'lr_feature': '+ feature alone',
    'lr_response': '+ response alone',
    'lr_fsr': '+ FSR alone',
    'student': 'LR student, the default terms',
    'one_stage': 'LR student, one stage (teacher → student), assistant + student epochs',
}
"""Row name → what it is. Every row but the stages of the chain itself is derived from `assistant` and `student`."""

TERM_DEFAULTS = {
    'isrd': dict(type='ISRDTerm'),
    'feature': dict(type='FeatureTerm'),
    'response': dict(type='ResponseTerm'),
    'fsr': dict(type='FSRTerm'),
}


def ablation_chain(chain: Chain, seed: int) -> Chain:
    """The chain with every row as a stage.

    Equal training: a row without the two stages behind it trains for the epochs of both.

    Raises:
        ConfigError: the chain has no stages `assistant` and `student`.
    """
    for name in ('assistant', 'student'):
        if name not in chain.stages:
            raise ConfigError(f'an ablation needs the stages assistant and student; this chain has {list(chain.stages)}')
    config = Config(copy.deepcopy(chain.config.to_dict()), filename=chain.config.filename)
    stages = config.stages
    epochs = {name: _epochs(chain, name) for name in ('assistant', 'student')}
    both = dict(max_epochs=epochs['assistant'] + epochs['student'])
    student = stages['student']
    stages['hr_plain'] = _without_guide(stages['assistant'], **both)
    stages['lr_plain'] = _without_guide(student, **both)
    stages['lr_init'] = {**_without_guide(student, **student.get('schedule', {})), 'init_from': 'assistant'}
    for term, default in TERM_DEFAULTS.items():
        only = {term: student.terms.get(term) or default}
        stages[f'lr_{term}'] = {**copy.deepcopy(student), 'terms': only, '_delete_': True}
        stages[f'lr_{term}'].pop('_delete_')
    if 'teacher' in stages:
        one_stage = {**copy.deepcopy(student), 'guide': 'teacher', 'init_from': None}
        one_stage['schedule'] = {**student.get('schedule', {}), **both}
        stages['one_stage'] = one_stage
    config.randomness = {**config.get('randomness', {}), 'seed': seed}
    return read_chain(config)


def _epochs(chain: Chain, name: str) -> int:
    return int({**chain.config.schedule, **chain.stages[name].get('schedule', {})}['max_epochs'])


def _without_guide(stage: ConfigDict, **schedule: int) -> ConfigDict:
    plain = copy.deepcopy(stage)
    plain.update(guide=None, terms=None, init_from=None, schedule={**stage.get('schedule', {}), **schedule})
    return plain


def run_row(
    chain: Chain, row: str, seed: int, work_dir: Path, out_dir: Path, splits: Iterable[str] = ('val',)
) -> dict:
    """Train a row and what it needs, measure it, and write `<out_dir>/<row>_seed<seed>.json`. Finished work is reused.

    Raises:
        ConfigError: unknown row.
    """
    chain = ablation_chain(chain, seed)
    if row not in chain.stages:
        raise ConfigError(f'row {row!r} is unknown: this chain has {[name for name in ROWS if name in chain.stages]}')
    folder = work_dir / f'seed{seed}'
    path = out_dir / f'{row}_seed{seed}.json'
    result = json.loads(path.read_text()) if path.is_file() else {}
    wanted = [split for split in splits if split not in result.get('metrics', {})]
    if not wanted:
        return result
    for needed in needed_stages(chain, row):
        if not (folder / needed / 'done.json').is_file() and not chain.stages[needed].get('checkpoint'):
            run_row(chain, needed, seed, work_dir, out_dir, splits)
    checkpoint = run_stages(chain, folder, only=row)[row]
    done = json.loads((folder / row / 'done.json').read_text())
    result = dict(row=row, seed=seed, ratio=str(chain.ratio), reduction=chain.config.get('reduction', 'area'),
                  pyramid=chain.config.get('student_pyramid', 'fine'), config=chain.name, epochs=done['epochs'],
                  seconds=done['seconds'], metrics=result.get('metrics', {}), per_class=result.get('per_class', {}))  # fmt: skip
    for split in wanted:
        measured = measure(bench_config(chain, row), checkpoint, split)
        result['metrics'][split], result['per_class'][split] = measured.metrics, measured.per_class
    write_atomic(json.dumps(result, indent=1).encode(), path)
    return result


def summary(results: Iterable[dict], split: str, metric: str) -> dict[str, tuple[float, float, int]]:
    """Row → (mean, sample standard deviation or 0, seeds) of a metric on a split."""
    values: dict[str, list[float]] = {}
    for result in results:
        if metric in result['metrics'].get(split, {}):
            values.setdefault(result['row'], []).append(result['metrics'][split][metric])
    return {
        row: (statistics.mean(v), statistics.stdev(v) if len(v) > 1 else 0.0, len(v)) for row, v in values.items()
    }
