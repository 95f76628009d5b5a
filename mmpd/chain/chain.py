"""A chain config, and the ordinary mmengine config of each of its stages (schema: docs/config.md)."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from mmengine.config import Config, ConfigDict

from ..data.reduction import REDUCTIONS, parse_ratio
from ..errors import ConfigError
from .keys import check_keys
from .task import task_named

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
}


@dataclass
class Chain:
    """A chain config with its stages in the order in which they must run.

    Attributes:
        config: the whole chain config.
        ratio: HR side / LR side.
        stages: name → stage entry, guides first.
    """

    config: Config
    ratio: Fraction
    stages: dict[str, ConfigDict]

    @property
    def name(self) -> str:
        return Path(self.config.filename or 'chain').stem

    def stage_ratio(self, name: str) -> Fraction:
        """HR side / side of the images that this stage's network sees."""
        return self.ratio if self.stages[name].size == 'lr' else Fraction(1)


def is_chain(config: Config) -> bool:
    """Whether a config describes a chain rather than one training."""
    return 'stages' in config


def read_chain(config: Config) -> Chain:
    """Check a chain config and put its stages in order.

    Raises:
        ConfigError: unknown key, bad ratio, unknown size, a guide that is no stage, a circle, a guide smaller than its
            student, a student of another resolution order.
    """
    ratio = parse_ratio(config.get('ratio', 2))
    operator = config.get('reduction', 'area')
    if operator not in REDUCTIONS:
        raise ConfigError(f'reduction = {operator!r} is unknown: use one of {sorted(REDUCTIONS.module_dict)}')
    if not config.stages:
        raise ConfigError('stages is empty: a chain needs at least one stage')
    check_keys(config, CHAIN_KEYS)
    guide_size = task_named(config.get('task', 'detection')).guide_size
    for name, stage in config.stages.items():
        _check_stage(name, stage, config.stages, guide_size)
    return Chain(config, ratio, _in_order(config.stages))


def _check_stage(name: str, stage: ConfigDict, stages: dict, guide_size: str) -> None:
    unknown = set(stage) - STAGE_KEYS
    if unknown:
        raise ConfigError(f'stages.{name} has unknown keys {sorted(unknown)}: allowed are {sorted(STAGE_KEYS)}')
    if 'detector' not in stage:
        raise ConfigError(f'stages.{name}.detector is missing: name an mmdet config or give a model dict')
    if stage.get('size') not in ('hr', 'lr'):
        raise ConfigError(f"stages.{name}.size = {stage.get('size')!r}: use 'hr' or 'lr'")
    for key in ('guide', 'init_from'):
        other = stage.get(key)
        if other is None or (key == 'init_from' and other == 'guide'):
            continue
        if other not in stages:
            if key == 'init_from' and str(other).endswith('.pth'):
                continue
            raise ConfigError(f'stages.{name}.{key} = {other!r} is no stage: the stages are {list(stages)}')
    guide = stage.get('guide')
    if guide and stages[guide].get('size') == 'lr' and guide_size == 'hr':
        raise ConfigError(
            f'stages.{name}.guide = {guide!r} sees LR images, and a guide sees HR images: take another guide, or set '
            f"stages.{guide}.size = 'hr' (with ratio = 1 where both see the same images)"
        )
    if guide and not stage.get('terms'):
        raise ConfigError(f'stages.{name}.terms is empty, but it has the guide {guide!r}: give terms, or guide = None')
    if stage.get('init_from') == 'guide' and not guide:
        raise ConfigError(f"stages.{name}.init_from = 'guide', but the stage has no guide")


def _needs(stage: ConfigDict) -> list[str]:
    """Names of the stages whose checkpoints a stage needs."""
    init_from = stage.get('init_from')
    names = [stage.get('guide'), None if init_from == 'guide' else init_from]
    return [name for name in names if name and not str(name).endswith('.pth')]


def _in_order(stages: dict[str, ConfigDict]) -> dict[str, ConfigDict]:
    ordered: dict[str, ConfigDict] = {}
    while len(ordered) < len(stages):
        ready = [n for n, stage in stages.items() if n not in ordered and all(o in ordered for o in _needs(stage))]
        if not ready:
            circle = [name for name in stages if name not in ordered]
            raise ConfigError(f'stages {circle} wait for each other: guide and init_from must not form a circle')
        ordered[ready[0]] = stages[ready[0]]
    return ordered


def needed_stages(chain: Chain, name: str) -> list[str]:
    """The stages that must be finished before `name` can run."""
    return _needs(chain.stages[name])
