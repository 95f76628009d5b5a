"""A chain config, checked and resolved into its stages (schema: docs/config.md)."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from mmengine.config import Config, ConfigDict

from ..data.reduction import operator_of, parse_ratio
from ..errors import ConfigError
from ..nested import drop_imports, name_types
from .keys import check_keys
from .stage import Stage
from .task import task_of
from .values import check_values

STAGE_KEYS = {
    'detector', 'overrides', 'size', 'guide', 'init_from', 'terms', 'align', 'schedule', 'runner', 'checkpoint',
    'augment',
}  # fmt: skip
CHAIN_KEYS = {
    'ratio',
    'student_pyramid',
    'stages',
    'data',
    'schedule',
    'reduction',
    'pretrained',
    'save_best',
    'task',
    'guide_cache',
    'guide_cache_half',
    'guide_cache_dir',
}


@dataclass(frozen=True)
class Chain:
    """A chain config with its stages in the order in which they must run.

    Attributes:
        config: the whole chain config.
        ratio: HR side / LR side.
        stages: name → stage, guides first.
    """

    config: Config = field(repr=False)
    ratio: Fraction
    stages: dict[str, Stage]

    @property
    def name(self) -> str:
        return Path(self.config.filename or 'chain').stem

    @property
    def final(self) -> Stage:
        """The stage that a chain is for: the last LR stage with a guide, else the last LR stage, else the last."""
        stages = list(self.stages.values())
        low = [stage for stage in stages if stage.size == 'lr']
        distilled = [stage for stage in low if stage.guide]
        return (distilled or low or stages)[-1]

    def stage(self, name: str) -> Stage:
        """The stage that the option --stage names. Raises ConfigError where there is none of that name."""
        if name not in self.stages:
            raise ConfigError(f'--stage {name}: the stages of this chain are {list(self.stages)}')
        return self.stages[name]


def is_chain(config: Config) -> bool:
    """Whether a config describes a chain rather than one training."""
    return 'stages' in config


def read_chain(config: Config) -> Chain:
    """Check a chain config and resolve it into its stages, in order.

    Raises:
        ConfigError: no stages, unknown key, task or size, a value of another kind, bad ratio, a guide that is no stage,
            a circle, a guide smaller than its student.
    """
    if not config.get('stages'):
        what = 'stages is empty' if is_chain(config) else f'{config.filename or "this config"} has no stages'
        raise ConfigError(f'{what}: a chain needs at least one stage, see docs/config.md')
    drop_imports(config._cfg_dict)  # a Config is no dict
    name_types(config._cfg_dict)
    for key in CHAIN_KEYS - {'save_best'}:  # None there: no checkpoint is chosen
        if config.get(key, '') is None:
            config._cfg_dict.pop(key)
    check_values(config)
    ratio = parse_ratio(config.get('ratio', 2))
    reduction = config.get('reduction', 'area')
    operator_of(reduction)  # raises where it is unknown
    if ratio == 1 and '+' in reduction:
        raise ConfigError(f'reduction = {reduction!r} does nothing at ratio = 1, where LR images are the HR images')
    task = task_of(config)
    if config.get('default_scope', task.scope) != task.scope:
        raise ConfigError(
            f'default_scope = {config.default_scope!r}, but task = {config.get("task", "detection")!r} builds its '
            f'parts in {task.scope!r}: leave it out'
        )
    check_keys(config, CHAIN_KEYS, task.data_keys)
    for name, entry in config.stages.items():
        _check_entry(name, entry, config.stages, task.guide_size)
    stages: dict[str, Stage] = {}
    for name in _in_order(config.stages):
        entry = config.stages[name]
        guide = stages.get(entry.get('guide'))
        start = entry.get('init_from')
        stages[name] = Stage(
            name=name,
            entry=entry,
            chain_config=config,
            task=task,
            ratio=ratio if entry.size == 'lr' else Fraction(1),
            guide=guide,
            init_from=guide if start == 'guide' else stages.get(start, start),
        )
    return Chain(config, ratio, stages)


def _check_entry(name: str, entry: ConfigDict, entries: dict, guide_size: str) -> None:
    unknown = set(entry) - STAGE_KEYS
    if unknown:
        raise ConfigError(f'stages.{name} has unknown keys {sorted(unknown)}: allowed are {sorted(STAGE_KEYS)}')
    if 'detector' not in entry:
        raise ConfigError(f'stages.{name}.detector is missing: name an mmdet config or give a model dict')
    if entry.get('size') not in ('hr', 'lr'):
        raise ConfigError(f"stages.{name}.size = {entry.get('size')!r}: use 'hr' or 'lr'")
    for key in ('guide', 'init_from'):
        other = entry.get(key)
        if other is None or (key == 'init_from' and other == 'guide'):
            continue
        if other not in entries:
            if key == 'init_from' and _is_file(other):
                continue
            file = '; a file of weights ends in .pth or .pt' if key == 'init_from' else ''
            raise ConfigError(f'stages.{name}.{key} = {other!r} is no stage: the stages are {list(entries)}{file}')
    guide = entry.get('guide')
    if guide and entries[guide].get('size') == 'lr' and guide_size == 'hr':
        raise ConfigError(
            f'stages.{name}.guide = {guide!r} sees LR images, and a guide sees HR images: take another guide, or set '
            f"stages.{guide}.size = 'hr' (with ratio = 1 where both see the same images)"
        )
    if guide and not entry.get('terms'):
        raise ConfigError(f'stages.{name}.terms is empty, but it has the guide {guide!r}: give terms, or guide = None')
    if entry.get('init_from') == 'guide' and not guide:
        raise ConfigError(f"stages.{name}.init_from = 'guide', but the stage has no guide")


def _in_order(entries: dict[str, ConfigDict]) -> list[str]:
    """Names of the stages, each after those whose weights it needs."""
    ordered: list[str] = []
    while len(ordered) < len(entries):
        waiting = [name for name in entries if name not in ordered]
        ready = [name for name in waiting if all(other in ordered for other in _needs(entries[name]))]
        if not ready:
            raise ConfigError(f'stages {waiting} wait for each other: guide and init_from must not form a circle')
        ordered.append(ready[0])
    return ordered


def _needs(entry: ConfigDict) -> list[str]:
    """Names of the stages whose weights an entry names."""
    start = entry.get('init_from')
    names = (entry.get('guide'), None if start == 'guide' or _is_file(start) else start)
    return [name for name in names if name]


def _is_file(init_from: str | None) -> bool:
    """Whether `init_from` names a file of weights (or a URL), rather than a stage."""
    return str(init_from).endswith(('.pth', '.pt')) or '://' in str(init_from)
