"""The rows of an ablation, as stages of one chain: all share data and schedule."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.config import Config, ConfigDict

from ..chain.chain import Chain, read_chain
from ..chain.stage_config import WARMUP
from ..errors import ConfigError

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
    'lr_adversarial': 'lr_init + adversarial',
    'lr_resolution': 'lr_init + resolution-aware response (CRKD a)',
    'lr_pairwise': 'lr_init + pair-wise constraint (CRKD b)',
    'lr_mmd': 'lr_init + MMD² (CRKD c)',
    'lr_crkd': 'lr_init + CRKD',
    'lr_rkd': 'lr_init + all of RKD',
    'student_adversarial': 'student + adversarial',
    'student_resolution': 'student, its response resolution-aware',
    'student_pairwise': 'student + pair-wise constraint',
    'student_mmd': 'student + MMD²',
    'student_crkd': 'student + CRKD',
    'student_rkd': 'student + all of RKD',
}
"""Row name → what it is. Every row but the stages of the chain itself is derived from `assistant` and `student`."""


HR_ROWS = ('teacher', 'hr_plain', 'assistant')


CONTROLS = ('lr_plain', 'lr_init')


QUICK_ROWS = ('lr_plain', 'lr_init', 'student')


TERM_DEFAULTS = {
    'isrd': dict(type='ISRDTerm', loss_weight=0.1),
    'feature': dict(type='FeatureTerm'),
    'response': dict(type='ResponseTerm'),
    'fsr': dict(type='FSRTerm'),
}

RKD = {
    'adversarial': dict(type='AdversarialTerm'),
    'resolution': dict(type='ResolutionTerm'),
    'pairwise': dict(type='PairwiseTerm'),
    'mmd': dict(type='MMDTerm'),
}
RKD_SETS = {**{part: (part,) for part in RKD}, 'crkd': ('resolution', 'pairwise', 'mmd'), 'rkd': tuple(RKD)}
RKD_ROWS = tuple(f'{base}_{part}' for base in ('lr', 'student') for part in RKD_SETS)
"""Rows of resolution-aware distillation: trained where they are named, and not by default."""

DEFAULT_ROWS = tuple(row for row in ROWS if row not in RKD_ROWS)


def rkd_terms(config: ConfigDict, response: Mapping | None) -> dict[str, dict]:
    """RKD's terms of a chain: the defaults, then the chain's own `rkd` (configs/_base_/rkd.py). `resolution` takes the
    place of the chain's response term, so it takes over that term's options, too."""
    terms = {part: {**default, **config.get('rkd', {}).get(part, {})} for part, default in RKD.items()}
    terms['resolution'] = {**(response or {}), **terms['resolution']}
    return terms


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
    schedules = {name: dict(stage.schedule) for name, stage in chain.stages.items()}
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
        if not derived.get('guide'):
            derived.pop('align', None)
        return derived

    plain = dict(guide=None, terms=None)
    stages['hr_plain'] = row('assistant', **plain, init_from=None, schedule=_stretched(schedules['assistant'], both))
    stages['lr_plain'] = row('student', **plain, init_from=None, schedule=_stretched(schedules['student'], both))
    stages['lr_init'] = row('student', **plain, init_from='assistant')
    for term, default in TERM_DEFAULTS.items():
        stages[f'lr_{term}'] = row('student', terms={term: stages['student'].terms.get(term) or default})
    default = stages['student'].terms
    rkd = rkd_terms(config, default.get('response'))
    for name, parts in RKD_SETS.items():
        added = {part: rkd[part] for part in parts}
        kept = {key: term for key, term in default.items() if not (key == 'response' and 'resolution' in parts)}
        stages[f'lr_{name}'] = row('student', terms=added)
        stages[f'student_{name}'] = row('student', terms={**kept, **added})
    if 'teacher' in stages:
        stages['one_stage'] = row(
            'student', guide='teacher', init_from=None, schedule=_stretched(schedules['student'], both)
        )
    config.randomness = {**config.get('randomness', {}), 'seed': seed}
    return read_chain(config)


def _stretched(schedule: dict, epochs: int) -> dict:
    """A schedule of another length; its learning rate falls at the same fractions of it. In a shorter one the warm-up
    is shorter, too: it could take all of it."""
    stretched, scale = {**schedule, 'max_epochs': epochs}, epochs / schedule['max_epochs']
    if scale < 1:
        stretched['warmup_iters'] = round(scale * schedule.get('warmup_iters', WARMUP))
    if schedule.get('milestones'):
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
        pending += [other.name for other in chain.stages[row].needs if not other.given]
    return [name for name in chain.stages if name in wanted]
