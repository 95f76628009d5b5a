"""Preflight: what a stage needs of the machine, which would stop a later stage as it begins."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator

import torch
from mmengine.config import Config

from ..nested import bare_type, walk_dicts
from .finding import Finding, error

WRITERS = {
    'TensorboardVisBackend': (('tensorboard', 'tensorboardX'), 'pip install tensorboard'),
    'WandbVisBackend': (('wandb',), 'pip install wandb'),
    'MLflowVisBackend': (('mlflow',), 'pip install mlflow'),
    'ClearMLVisBackend': (('clearml',), 'pip install clearml'),
    'NeptuneVisBackend': (('neptune',), 'pip install neptune'),
    'DVCLiveVisBackend': (('dvclive',), 'pip install dvclive'),
    'AimVisBackend': (('aim',), 'pip install aim'),
}
"""mmengine's backends → modules of which one must be there, and what brings it."""


def environment_findings(config: Config) -> list[Finding]:
    """Packages that loggers need, precisions that this machine has not, norms that need other processes; of an ordinary
    mmengine config."""
    return [*_writers(config), *_precision(config), *_norms(config)]


def _writers(config: Config) -> Iterator[Finding]:
    visualizer = config.get('visualizer') or {}
    for backend in [*(visualizer.get('vis_backends') or []), *(config.get('vis_backends') or [])]:
        kind = bare_type(backend)
        modules, remedy = WRITERS.get(kind, ((), ''))
        if modules and not any(importlib.util.find_spec(module) for module in modules):
            yield error(f'visualizer.vis_backends has {kind}', f'{modules[0]} is not installed: {remedy}')


def _precision(config: Config) -> Iterator[Finding]:
    wrapper = config.get('optim_wrapper') or {}
    if bare_type(wrapper) != 'AmpOptimWrapper':
        return
    dtype = str(wrapper.get('dtype', 'float16')).removeprefix('torch.')
    if not torch.cuda.is_available():
        yield error("optim_wrapper.type = 'AmpOptimWrapper'", "mmengine has it for GPUs alone: use 'OptimWrapper' here")
    elif dtype == 'bfloat16' and not torch.cuda.is_bf16_supported():
        yield error("optim_wrapper.dtype = 'bfloat16'", "this GPU has no bfloat16: use 'float16'")


def _norms(config: Config) -> Iterator[Finding]:
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return
    if any(bare_type(part) == 'MMSyncBN' for part in walk_dicts(config.get('model') or {})):
        yield error(
            "norm_cfg.type = 'MMSyncBN'",
            "mmcv builds it in distributed training alone (--launcher): use 'SyncBN', which is plain in one process",
        )
