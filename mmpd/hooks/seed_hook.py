"""Randomness from (seed, epoch), not from what ran before: a resumed run equals an uninterrupted one (ours)."""

import logging
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from mmdet.registry import HOOKS
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import EpochBasedTrainLoop, Runner

from ..errors import ConfigError


@HOOKS.register_module()
class SampleSeedHook(Hook):
    """Before each train epoch: tell the data set its epoch and reseed every generator from (seed, epoch, rank).

    Checkpoints lie at epoch boundaries, so this makes resuming exact for epoch-based loops. mmengine cannot resume
    inside an epoch, and an iteration-based loop starts its sampler anew: there a resumed run is a valid run, not the
    same one.

    Args:
        seed: None takes the run's (`randomness.seed`).
    Raises:
        ConfigError: `train_dataloader.persistent_workers=True`: such workers hold a copy of the data set from the first
            epoch and never learn of the next one.
    """

    priority = 'VERY_HIGH'

    def __init__(self, seed: int | None = None) -> None:
        self.seed = seed

    def before_train(self, runner: Runner) -> None:
        """Refuse what would make a resumed run silently differ."""
        if getattr(runner.train_dataloader, 'persistent_workers', False):
            raise ConfigError(
                'train_dataloader.persistent_workers=True: such workers never learn of a new epoch, so every epoch '
                'would see the same augmentation, and a resumed run another one; set it to False'
            )
        if self.seed is None and runner._randomness_cfg.get('seed') is None:
            print_log('randomness.seed is not set: two runs of this config will differ', 'current', logging.WARNING)
        if not isinstance(runner.train_loop, EpochBasedTrainLoop):
            print_log(
                f'{type(runner.train_loop).__name__} restarts its sampler on resume: only EpochBasedTrainLoop is exact',
                'current',
                logging.WARNING,
            )

    def before_train_epoch(self, runner: Runner) -> None:
        """Seed `random`, NumPy, torch (CPU and CUDA; data-loader workers seed from it)."""
        seed = self.seed if self.seed is not None else runner.seed
        for dataset in unwrap(runner.train_dataloader.dataset):
            dataset.seed, dataset.epoch = seed or 0, runner.epoch
        mixed = int(np.random.SeedSequence([seed or 0, runner.epoch, get_rank()]).generate_state(1)[0])
        random.seed(mixed)
        np.random.seed(mixed)
        torch.manual_seed(mixed)


def unwrap(dataset: Any) -> Iterator[Any]:
    """`dataset` and all it wraps (SeededDataset, ConcatDataset, RepeatDataset, ClassBalancedDataset, …)."""
    yield dataset
    inner = [dataset.dataset] if hasattr(dataset, 'dataset') else []
    for wrapped in inner + list(getattr(dataset, 'datasets', ())):
        yield from unwrap(wrapped)
