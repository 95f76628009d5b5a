"""The ordinary mmengine config of one stage of a chain."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path

from mmengine.config import Config, ConfigDict

from ..errors import ConfigError
from ..nested import bare_type
from .chain import CHAIN_KEYS
from .datasets import dataloaders
from .stage import Stage

WARMUP = 500
"""Iterations of warm-up where a schedule names none."""


def stage_config(stage: Stage, work_dir: str | Path, checkpoints: Mapping[str, str]) -> Config:
    """The ordinary mmengine config of one stage: dump it, and any mmengine Runner can run it.

    Args:
        checkpoints: stage name → file with its weights, for the stages that this one needs.

    Raises:
        ConfigError: a checkpoint hook of another type, or a length that the learning rate does not follow.
    """
    chain_config, task = stage.chain_config, stage.task
    config = {key: copy.deepcopy(value) for key, value in chain_config.items() if key not in CHAIN_KEYS}
    config.update(
        default_scope=task.scope,
        custom_imports=imports_of(stage),
        model=stage_model(stage, checkpoints),
        work_dir=str(Path(work_dir) / stage.name),
        **dataloaders(stage),
        val_evaluator=task.evaluator(),
        test_evaluator=task.evaluator(),
        **loops(stage.schedule),
    )
    init_from = init_file(stage, checkpoints)
    own = copy.deepcopy(dict(stage.entry.get('runner') or {}))  # merging takes `_delete_` out of what it merges
    config['custom_hooks'] = [
        dict(type='mmdet.SampleSeedHook'),
        dict(type='mmdet.FiniteLossHook'),
        dict(type='mmdet.EpochLengthHook'),
        dict(type='SyncBuffersHook'),  # BN statistics of rank 0 alone would be saved, and resumed on every rank
        *(copy.deepcopy(task.guide_hooks) if stage.guide else []),
        *([dict(type='mmdet.InitFromHook', checkpoint=init_from)] if init_from else []),
        *(config.get('custom_hooks') or []),
        *own.pop('custom_hooks', []),
    ]
    result = Config(config)
    result.merge_from_dict(own)
    hooks = dict(result.get('default_hooks') or {})
    hooks['checkpoint'] = _checkpoint_hook(stage, dict(hooks.get('checkpoint') or {}))
    result.default_hooks = hooks
    epochs = result.train_cfg.get('max_epochs', stage.schedule.max_epochs)
    if epochs != stage.schedule.max_epochs:
        raise ConfigError(
            f'stages.{stage.name}.runner.train_cfg.max_epochs = {epochs} would leave the learning rate with a schedule '
            f'of {stage.schedule.max_epochs} epochs: set stages.{stage.name}.schedule.max_epochs instead'
        )
    return result


def _checkpoint_hook(stage: Stage, given: dict) -> dict:
    """mmpd's hook with the arguments that the chain config gives. mmengine's own, which mmdet's runtime file names,
    knows no plain student and deletes the old file before it has saved the new one: its arguments are taken.

    Raises:
        ConfigError: a hook of another type.
    """
    kind = bare_type(given) or 'CheckpointHook'
    given.pop('type', None)
    if kind not in ('CheckpointHook', 'AtomicCheckpointHook'):
        raise ConfigError(
            f"default_hooks.checkpoint.type = {kind!r}: a stage needs mmpd's AtomicCheckpointHook; leave the type out, "
            'and give only its arguments'
        )
    return {
        **dict(type='mmdet.AtomicCheckpointHook', interval=1, max_keep_ckpts=2, rule='greater', stage=stage.name),
        **dict(save_best=stage.chain_config.get('save_best', stage.task.best)),
        **given,
    }


def stage_model(stage: Stage, checkpoints: Mapping[str, str]) -> ConfigDict:
    """The model config of a stage: its plain network, or a Distiller around it; `checkpoints` as in `stage_config`."""
    if not stage.guide:
        return stage.network
    return ConfigDict(
        type='mmdet.Distiller',
        student=stage.network,
        guide=stage.guide.network,
        guide_checkpoint=checkpoints.get(stage.guide.name),
        ratio=str(stage.ratio / stage.guide.ratio),
        align=stage.entry.get('align') or 'auto',
        terms=stage.entry.terms,
        guide_cache=stage.chain_config.get('guide_cache', 0),
        **{key: value for key in ('guide_cache_half', 'guide_cache_dir') if (value := stage.chain_config.get(key))},
    )


def init_file(stage: Stage, checkpoints: Mapping[str, str]) -> str | None:
    """File with the weights that a stage starts from; the name of their stage where that is not in `checkpoints`."""
    start = stage.init_from
    return checkpoints.get(start.name, start.name) if isinstance(start, Stage) else start


def imports_of(stage: Stage) -> dict:
    """`custom_imports` of a stage: what its task needs, then what the chain config names."""
    own, named = stage.task.imports, stage.chain_config.get('custom_imports', {}).get('imports', [])
    return dict(imports=[*own, *(name for name in named if name not in own)], allow_failed_imports=False)


def loops(schedule: ConfigDict) -> dict:
    """Epoch loop, warm-up, and cosine decay over `schedule.max_epochs`; with `milestones` × `gamma` (0.1) at each.

    A ramp of one iteration is none: mmengine's would stay at its start.
    """
    epochs, warmup = schedule.max_epochs, schedule.get('warmup_iters', WARMUP)
    decay = dict(type='CosineAnnealingLR', T_max=epochs, end=epochs, convert_to_iter_based=True, eta_min_ratio=0.01)
    if schedule.get('milestones'):
        gamma = schedule.get('gamma', 0.1)
        decay = dict(type='MultiStepLR', milestones=list(schedule.milestones), gamma=gamma, end=epochs)
    return dict(
        train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=epochs, val_interval=schedule.get('val_interval', 1)),
        val_cfg=dict(type='ValLoop'),
        test_cfg=dict(type='TestLoop'),
        param_scheduler=[
            *([dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=warmup)] if warmup > 1 else []),
            dict(**decay, begin=0, by_epoch=True),
        ],
    )
