"""Preflight: what a Runner builds only as a stage begins, hours after the chain did: optimiser, hooks, metrics.

Each part is built on the stage's own network and data set, and thrown away.
"""

from __future__ import annotations

import contextlib
import copy
import inspect
import logging
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.hooks import EMAHook
from mmengine.optim import build_optim_wrapper
from mmengine.registry import (
    DATA_SAMPLERS,
    DATASETS,
    HOOKS,
    LOG_PROCESSORS,
    LOOPS,
    METRICS,
    MODELS,
    PARAM_SCHEDULERS,
    VISBACKENDS,
    VISUALIZERS,
    Registry,
)
from mmengine.runner import Runner
from mmengine.visualization import Visualizer
from torch import nn
from torch.utils.data import DataLoader

from ..chain.datasets import walk_datasets
from .finding import Finding, error, warning

OF_MMENGINE = {'dataset', 'sampler', 'batch_sampler', 'collate_fn', 'worker_init_fn', 'num_batch_per_epoch'}
"""Keys of a dataloader that mmengine reads itself; the others are those of torch's DataLoader."""


def runner_findings(config: Config, model: nn.Module, dataset: Any) -> list[Finding]:
    """Parts of a stage that cannot be built, and a warning for what of the optimiser is of no parameter.

    Args:
        config: an ordinary mmengine config as `stage_config` makes it. dataset: the training set.
    """
    findings = []
    with _a_visualizer():
        for key, build in _parts(config, model, dataset):
            try:
                build()
            except Exception as problem:  # what a part of mmengine or of the user raises can be anything
                text = ' '.join(f'{type(problem).__name__}: {problem}'.split())
                findings.append(error(key, f'it cannot be built as it stands: {text[:400]}'))
    return [*findings, *_keys_of_nothing(config, model)]


def _keys_of_nothing(config: Config, model: nn.Module) -> Iterator[Finding]:
    """A learning rate of its own for what is not there. A warning: stages share the optimiser, not their networks."""
    names = [name for name, _ in model.named_parameters()]
    for key in ((config.get('optim_wrapper') or {}).get('paramwise_cfg') or {}).get('custom_keys') or {}:
        if not any(key in name for name in names):
            yield warning(
                f'optim_wrapper.paramwise_cfg.custom_keys.{key}',
                'no parameter of this stage has it in its name, so it changes nothing here',
            )


@contextlib.contextmanager
def _a_visualizer() -> Iterator[None]:
    """A Runner has made its visualizer before its hooks, and mmdet's drawing hook asks for the newest one as it is
    built. Ours writes nothing and is gone afterwards."""
    name = f'mmpd.check.runner.{time.time_ns()}'
    Visualizer.get_instance(name)
    try:
        yield
    finally:
        Visualizer._instance_dict.pop(name, None)


def _parts(config: Config, model: nn.Module, dataset: Any) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Config key → what builds that part."""
    cfg = copy.deepcopy(config.to_dict())
    yield 'optim_wrapper and param_scheduler', lambda: _optimiser(cfg, model)
    for key in ('custom_hooks', 'default_hooks'):
        hooks = cfg.get(key) or {}
        for hook in hooks.values() if isinstance(hooks, dict) else hooks:
            if isinstance(hook, dict):
                yield f'{key}: {hook.get("type")}', partial(_hook, hook, model)
    for split in ('train', 'val', 'test'):
        if cfg.get(f'{split}_dataloader'):
            yield f'{split}_dataloader', partial(_loader, cfg[f'{split}_dataloader'], dataset)
            for part in walk_datasets(cfg[f'{split}_dataloader']['dataset']):
                yield f'data.{split}', partial(_dataset, part)
        if cfg.get(f'{split}_cfg'):
            yield f'{split}_cfg', partial(_loop, dict(cfg[f'{split}_cfg']), split)
        for metric in _listed(cfg.get(f'{split}_evaluator')):
            yield f'{split}_evaluator: {metric.get("type")}', partial(METRICS.build, metric)
    if cfg.get('randomness'):
        yield 'randomness', lambda: _randomness(**cfg['randomness'])
    if cfg.get('log_level'):
        yield 'log_level', lambda: logging.Logger('', cfg['log_level'])
    if cfg.get('env_cfg'):  # mmengine reads these keys and passes over all others
        yield 'env_cfg', lambda: inspect.signature(_environment).bind(**cfg['env_cfg'])
    if cfg.get('log_processor'):
        yield 'log_processor', lambda: LOG_PROCESSORS.build(cfg['log_processor'])
    if cfg.get('auto_scale_lr'):
        yield 'auto_scale_lr', lambda: _auto_scale_lr(**cfg['auto_scale_lr'])
    visualizer = dict(cfg.get('visualizer') or {})
    for backend in [*(visualizer.get('vis_backends') or []), *(cfg.get('vis_backends') or [])]:
        yield f'vis_backends: {backend.get("type")}', partial(_fits, VISBACKENDS, {'save_dir': '', **backend})
    if visualizer.get('type'):  # built, it would make folders, and so would its backends
        yield 'visualizer', lambda: _fits(VISUALIZERS, visualizer)


def _randomness(**given: Any) -> None:
    """What `Runner.set_randomness` reads; a seed is numpy's and torch's."""
    inspect.signature(Runner.set_randomness).bind(None, **given)
    if (seed := given.get('seed')) is not None:
        torch.Generator().manual_seed(seed)
        np.random.RandomState(seed)


def _environment(cudnn_benchmark: Any = None, mp_cfg: Any = None, dist_cfg: Any = None, resource_limit: Any = None):
    """What `Runner.setup_env` reads."""


def _auto_scale_lr(enable: bool = False, base_batch_size: int | None = None) -> None:
    """What `Runner.scale_lr` reads."""
    if enable and not base_batch_size:
        raise ValueError('base_batch_size is missing: the batch size for which the learning rate is meant')


def _hook(hook: dict, model: nn.Module) -> None:
    built = HOOKS.build(hook)
    if isinstance(built, EMAHook):  # what it does not know itself it hands to the average, made as the stage begins
        MODELS.build(built.ema_cfg, default_args=dict(model=model))


def _optimiser(cfg: dict, model: nn.Module) -> None:
    wrapper = build_optim_wrapper(model, cfg['optim_wrapper'])
    if getattr(wrapper, 'clip_grad_kwargs', None):  # first read after a backward pass
        inspect.signature(wrapper.clip_func).bind([], **wrapper.clip_grad_kwargs)
    for scheduler in _listed(cfg.get('param_scheduler')):
        scheduler.pop('_scope_', None)
        kind: Any = _kind(PARAM_SCHEDULERS, scheduler.pop('type'))
        if scheduler.pop('convert_to_iter_based', False):
            kind.build_iter_from_epoch(optimizer=wrapper, epoch_length=1, **scheduler)
        else:
            kind(optimizer=wrapper, **scheduler)


def _loader(loader: dict, dataset: Any) -> None:
    sampler = DATA_SAMPLERS.build(loader['sampler'], default_args=dict(dataset=dataset, seed=0))
    if loader.get('batch_sampler'):
        args = dict(sampler=sampler, batch_size=loader['batch_size'])
        DATA_SAMPLERS.build(loader['batch_sampler'], default_args=args)
    own = {key: value for key, value in loader.items() if key not in OF_MMENGINE}
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # more workers than this machine has processors
        DataLoader(dataset, **own)  # it starts its workers when it is asked for a batch


def _dataset(part: dict) -> None:
    """Raises where the type of a data set is unknown or takes no such argument; none of its files is read. That of test
    is built when all stages have finished."""
    kind: Any = _kind(DATASETS, part['type'])
    known = {'type', '_scope_'}
    base: Any
    for base in inspect.getmro(kind):
        if '__init__' in vars(base):
            parameters = inspect.signature(base.__init__).parameters.values()
            known |= {one.name for one in parameters}
            if all(one.kind is not one.VAR_KEYWORD for one in parameters):
                break
    if unknown := set(part) - known:
        raise TypeError(f'{kind.__name__} takes no {sorted(unknown)}')


def _loop(loop: dict, phase: str) -> None:
    own = dict(runner=None, dataloader=None) if phase == 'train' else dict(runner=None, dataloader=None, evaluator=None)
    if loop.get('type'):
        _fits(LOOPS, {**own, **loop})


def _listed(part: Any) -> list[dict]:
    return [part] if isinstance(part, dict) else list(part or [])


def _fits(registry: Registry, part: dict) -> None:
    """Raises TypeError where the type of `part` takes no such arguments, without making one."""
    part.pop('_scope_', None)  # mmengine's own key, in what comes from an 'mmdet::' file
    inspect.signature(_kind(registry, part.pop('type'))).bind(**part)


def _kind(registry: Registry, name: Any) -> Callable:
    """The class that a type means, in the scope that is set; raises KeyError."""
    if not isinstance(name, str):
        return name
    with registry.switch_scope_and_registry(None) as here:
        kind = here.get(name)
    if kind is None:
        raise KeyError(f'{name} is not registered')
    return kind
