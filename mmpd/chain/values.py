"""What the plain values of a chain config must be, and what stands where nothing reads it (ours).

Each check raises ConfigError with the key, the value and what to change, before anything is built.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from ..errors import ConfigError
from ..nested import walk_dicts
from .keys import KINDS, MADE_BY_THE_CHAIN

STAGE_KINDS: dict[str, Any] = {
    **dict.fromkeys(('guide', 'init_from', 'align', 'checkpoint'), str),
    **dict.fromkeys(('overrides', 'terms', 'schedule', 'runner'), Mapping),
    'detector': (str, Mapping),
}
"""Key of a stage → what its value is; None is as if it were not there."""
WORDS: dict[Any, str] = {
    bool: 'True or False',
    str: 'a text',
    list: 'a list of dict(type=…)',
    Mapping: 'a dict(…)',
    (int, float): 'a number, at least 0',
    (int, float, str): "an integer such as 2, or a string such as '3/2'",
    (str, Mapping): "a config such as 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py', or a model dict",
}
PLACES = {
    **{key: f'data.{key}' for key in ('batch_size', 'val_batch_size', 'num_workers', 'hr_scale', 'batch_by_shape')},
    **{key: f'schedule.{key}' for key in ('max_epochs', 'warmup_iters', 'val_interval', 'milestones', 'gamma')},
    **{key: f'stages.<stage>.{key}' for key in ('align', 'init_from')},
    'seed': 'randomness.seed',
}
"""Keys of a part of a chain → where they belong."""
USUAL_TERMS = {'feature', 'response', 'isrd', 'fsr', 'roi', 'kd', 'adversarial', 'resolution', 'pairwise', 'mmd'}
"""Names that mmpd's own configs give to terms: one that is switched off is no misspelt other one."""


def check_values(config: Mapping[str, Any]) -> None:
    """Kinds of the values at the top of a chain and in its stages, and options that need another one.

    Raises:
        ConfigError
    """
    _check_kinds(config, KINDS, '')
    if (config.get('guide_cache') or 0) < 0:
        raise ConfigError(f'guide_cache = {config["guide_cache"]!r}: give MiB of main memory, 0 for none')
    if config.get('guide_cache_half') and not (config.get('guide_cache') or config.get('guide_cache_dir')):
        raise ConfigError(
            'guide_cache_half = True rounds the guide outputs that are kept, and none are: set guide_cache (MiB) or '
            'guide_cache_dir (a folder)'
        )
    stages = {name: stage for name, stage in config['stages'].items() if isinstance(stage, Mapping)}
    for name, stage in stages.items():
        _check_kinds(stage, STAGE_KINDS, f'stages.{name}.')
    for name, stage in stages.items():
        _check_terms(name, stage, stages)
    _refuse_strays(config)


def _check_kinds(values: Mapping[str, Any], kinds: Mapping[str, Any], prefix: str) -> None:
    for key, kind in kinds.items():
        value = values.get(key)
        kind_given = (list, tuple) if kind is list else kind
        good = isinstance(value, kind_given) and (kind is bool or not isinstance(value, bool))
        if value is not None and not good:
            raise ConfigError(f'{prefix}{key} = {value!r}: give {WORDS[kind]}')


def _check_terms(name: str, stage: Mapping[str, Any], stages: Mapping[str, Mapping[str, Any]]) -> None:
    terms = stage.get('terms') or {}
    for term, value in terms.items():
        if value is not None and not (isinstance(value, Mapping) and 'type' in value):
            raise ConfigError(
                f"stages.{name}.terms.{term} = {value!r}: give dict(type='FeatureTerm', …) or another type of "
                'docs/config.md, or None to switch it off'
            )
    for key in ('terms', 'align'):
        if not stage.get('guide') and any(terms.values() if key == 'terms' else [stage.get(key)]):
            raise ConfigError(
                f'stages.{name}.{key} = {stage[key]!r} compares with a guide, and the stage has none: give '
                f'stages.{name}.guide, or {key} = None for a plain training'
            )
    used = {term for one in stages.values() for term, value in (one.get('terms') or {}).items() if value}
    on = [term for term, value in terms.items() if value]
    for term in set(terms) - set(on) - used - USUAL_TERMS:
        near = difflib.get_close_matches(term, on, n=1, cutoff=0.7)
        if near:
            raise ConfigError(
                f'stages.{name}.terms.{term} = None switches off a term that is not there: did you mean '
                f'terms.{near[0]}?'
            )


def _refuse_strays(config: Mapping[str, Any]) -> None:
    """Keys of `data`, `schedule` or a stage at the top, where nothing reads them.

    A config file may name its values (`max_epochs = 12`, then `schedule = dict(max_epochs=max_epochs)`); so what is
    refused is a name whose value no key of that name has anywhere.
    """
    for key in PLACES.keys() & set(config):
        value = config[key]
        parts = walk_dicts([part for name, part in config.items() if name != key])
        if not any(_same(value, other) for part in parts for name, other in part.items() if str(name).endswith(key)):
            raise ConfigError(f'{key} = {value!r} at the top of a chain does nothing: set {PLACES[key]}')


def _same(one: Any, other: Any) -> bool:
    one, other = (tuple(value) if isinstance(value, list) else value for value in (one, other))
    return bool(one == other)


def check_options(options: Iterable[str], config: Mapping[str, Any], known: set[str]) -> None:
    """Options of a command line for a chain: keys that somebody reads.

    A name of the file's own (`terms`, `data_root`) has done its work when the file has been read: another value for it
    would reach nothing.

    Args:
        options: dotted keys. config: as its file has it. known: keys at the top that are read.

    Raises:
        ConfigError
    """
    for option in options:
        key = option.partition('.')[0]
        if key in MADE_BY_THE_CHAIN:
            raise ConfigError(f'--cfg-options {option}: {key} is made by the chain: {MADE_BY_THE_CHAIN[key]}')
        if key in known:
            continue
        near = difflib.get_close_matches(key, known, n=1, cutoff=0.7)
        instead = f'did you mean {near[0]}?' if near else 'see docs/config.md for what is'
        if key in config:
            instead = 'it is a name of its own file; set the keys that take their value from it'
        if key in PLACES or key in STAGE_KINDS:
            instead = f'set {PLACES.get(key, f"stages.<stage>.{key}")}'
        raise ConfigError(f'--cfg-options {option}: {key} at the top of a chain is not read: {instead}')


def check_options_of_one(options: Iterable[str], config: Mapping[str, Any], known: set[str], chain: set[str]) -> None:
    """Options of a command line for the config of one network: keys that it has, or that somebody reads.

    Args:
        options, config, known: as `check_options`. chain: keys of a chain.

    Raises:
        ConfigError
    """
    for option in options:
        key = option.partition('.')[0]
        if key in config or key in known:
            continue
        near = difflib.get_close_matches(key, [*known, *config], n=1, cutoff=0.7)
        instead = f'did you mean {near[0]}?' if near else 'leave it out'
        if key in chain:
            instead = 'it is a key of a chain, and this is the config of one network; give the config of its chain'
        raise ConfigError(f'--cfg-options {option}: nothing reads {key} in this config: {instead}')
