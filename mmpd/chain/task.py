"""What a chain must know of its task: classes, pipelines and metrics.

A task is one class with these methods, registered in TASKS (mmpd.det.task, mmpd.cls.task); the core has no other branch
for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from mmengine.config import ConfigDict
from mmengine.registry import Registry

from ..errors import ConfigError

if TYPE_CHECKING:
    from .stage import Stage

TASKS = Registry('task of a chain', locations=['mmpd.register'])


class Task(Protocol):
    """The contract of a task.

    Attributes:
        scope: registry scope in which its configs are built ('mmdet', 'mmpretrain').
        imports: modules that register what its configs name, for `custom_imports`.
        best: metric by which a checkpoint is the best one, higher is better.
        headline: metrics that a summary shows.
        fractions: whether its metrics are fractions of 1, which a summary shows in per cent; else as they are.
        guide_hooks: configs of the hooks of every stage with a guide.
        guide_size: 'hr' or 'lr', what guides see.
        data_keys: keys of `data` besides those of every task.
        stock: whether the host library can run what it deploys; else a deployed config imports mmpd.
        drawing: the host's visualizer and the hook that draws with it, None where it has none.
    """

    scope: str
    imports: tuple[str, ...]
    best: str
    headline: tuple[str, ...]
    fractions: bool
    guide_hooks: tuple[dict, ...]
    guide_size: str
    data_keys: tuple[str, ...]
    stock: bool
    drawing: tuple[str, str] | None

    def num_classes(self, stage: Stage) -> int | None:
        """Number of classes, None for images without. Raises ConfigError where it can't be told."""

    def classes(self, stage: Stage, split: str = 'train') -> tuple[str, ...]:
        """Class names of a split's data set, () for images without. Raises ConfigError where they can't be told."""

    def network(self, stage: Stage, model: ConfigDict) -> ConfigDict:
        """The last word on a stage's model config: what follows from the task and the image size."""

    def train_pipeline(self, stage: Stage) -> list[dict]:
        """Everything random at HR, then the reduction: one augmented sample, a pair where the stage has a guide."""

    def test_pipeline(self, stage: Stage) -> list[dict]:
        """HR images through the same reduction."""

    def deploy_pipeline(self, stage: Stage) -> list[dict]:
        """Native images of the stage's size, stock transforms only."""

    def deploy_train_pipeline(self, stage: Stage) -> list[dict]:
        """The same for training on them, as the host's own tools do; [] where the task can't."""

    def evaluator(self) -> dict:
        """Config of the metric."""

    def deploy_evaluator(self, dataset: dict) -> dict:
        """Config of a metric that the host library has, for the data set of a deployed config."""


def task_of(config: Mapping[str, Any]) -> Task:
    """The task of a chain config: `task = 'detection'` unless it says otherwise. Raises ConfigError."""
    name = config.get('task', 'detection')
    if name not in TASKS:
        raise ConfigError(f'task = {name!r} is unknown: use one of {sorted(TASKS.module_dict)}')
    return TASKS.get(name)()
