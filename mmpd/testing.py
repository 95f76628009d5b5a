"""Measure a network: one Runner test loop over a split, nothing trained."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from mmengine.config import Config
from mmengine.runner import Runner

from .checkpoint import load_into
from .errors import ConfigError


@dataclass
class Measurement:
    """What a test gave: metrics as fractions (0..1) under their names, and AP per class where the metric has it."""

    metrics: dict[str, float]
    per_class: dict[str, dict[str, float]] = field(default_factory=dict)


def measure(config: Config, checkpoint: str | Path, split: str = 'test', launcher: str = 'none') -> Measurement:
    """Test the weights in `checkpoint` on a split of a bench (or deploy) config.

    Args:
        config: an ordinary mmengine config of a plain network with `test_dataloader` (and `val_dataloader` for 'val').
        checkpoint: plain weights or a Runner checkpoint, also of a Distiller.
        split: 'val' or 'test'.

    Raises:
        ConfigError: unknown split, or the config has no such dataloader.
        CheckpointError: the weights do not fit.
    """
    if split not in ('val', 'test') or f'{split}_dataloader' not in config:
        raise ConfigError(f"split = {split!r}: use 'val' or 'test', and a config that has {split}_dataloader")
    config = Config(config.to_dict())
    config.test_dataloader = config[f'{split}_dataloader']
    config.test_evaluator = config.get(f'{split}_evaluator') or config.test_evaluator
    config.launcher = launcher
    for key in ('train_dataloader', 'train_cfg', 'optim_wrapper', 'param_scheduler', 'val_dataloader', 'val_cfg',
                'val_evaluator', 'custom_hooks'):  # fmt: skip
        config.pop(key, None)
    config.default_hooks = dict(checkpoint=None)
    config.log_level = 'WARNING'
    config.experiment_name = f'measure_{time.time_ns()}'
    with TemporaryDirectory(prefix='mmpd_') as folder:
        config.work_dir = folder
        runner = Runner.from_cfg(config)
        load_into(runner.model, checkpoint)
        metrics = {key.split('/')[-1]: float(value) for key, value in runner.test().items()}
        per_class = getattr(runner.test_evaluator.metrics[0], 'per_class', {})
    return Measurement(metrics, per_class)
