"""The ordinary mmengine config of one stage of a chain."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

from mmengine.config import Config, ConfigDict

from .chain import CHAIN_KEYS, Chain
from .datasets import dataloaders
from .detector import detector_config
from .keys import check_num_classes, check_sizes
from .pyramid import finer_levels
from .sizes import pair_divisor
from .task import task_of


def stage_detector(chain: Chain, name: str) -> ConfigDict:
    """The plain model config of a stage's network.

    Raises:
        ConfigError: no such detector, a class count that is not the data's, or images too small for its pyramid.
    """
    stage = chain.stages[name]
    num_classes = task_of(chain).num_classes(chain)
    check_num_classes(name, stage.get('overrides'), num_classes)
    pretrained = chain.config.get('pretrained', True)
    finer = 0
    if stage.size == 'lr':
        pyramid = chain.config.get('student_pyramid', 'fine')
        finer = finer_levels(detector_config(stage.detector), chain.ratio, pyramid)
    model = detector_config(stage.detector, stage.get('overrides'), num_classes, pretrained, finer)
    check_sizes(name, chain.config.data.hr_scale, chain.stage_ratio(name), model)
    if stage.get('guide'):
        _pad_as_paired(
            model, stage_detector(chain, stage.guide), chain.stage_ratio(name) / chain.stage_ratio(stage.guide)
        )
    return task_of(chain).network(chain, name, model)


def _pad_as_paired(model: ConfigDict, guide: ConfigDict, ratio: Fraction) -> None:
    """Write the padding of the pair's batches into the student's preprocessor: it is tested and deployed as trained.

    In place. Networks without a divisor in their preprocessor stay as they are where 1 will do.
    """
    divisors = [(part.get('data_preprocessor') or {}).get('pad_size_divisor', 1) for part in (model, guide)]
    needed = pair_divisor(*divisors, ratio)
    if needed != divisors[0] and model.get('data_preprocessor'):
        model.data_preprocessor.pad_size_divisor = needed


def stage_model(chain: Chain, name: str, checkpoints: Mapping[str, str]) -> ConfigDict:
    """The model config of a stage: the plain detector, or a Distiller around it.

    Args:
        checkpoints: stage name → file with its weights, for the stages that this one needs.
    """
    stage = chain.stages[name]
    detector = stage_detector(chain, name)
    guide = stage.get('guide')
    if not guide:
        return detector
    return ConfigDict(
        type='mmdet.Distiller',
        student=detector,
        guide=stage_detector(chain, guide),
        guide_checkpoint=checkpoints.get(guide),
        ratio=str(chain.stage_ratio(name) / chain.stage_ratio(guide)),
        align=stage.get('align', 'auto'),
        terms=stage.terms,
        guide_cache=chain.config.get('guide_cache', 0),
    )


def init_file(stage: ConfigDict, checkpoints: Mapping[str, str]) -> str | None:
    """File with the weights that a stage starts from; the name of their stage where that is not in `checkpoints`."""
    init_from = stage.get('init_from')
    return checkpoints.get(stage.guide if init_from == 'guide' else init_from, init_from) if init_from else None


def stage_config(chain: Chain, name: str, work_dir: str | Path, checkpoints: Mapping[str, str]) -> Config:
    """The ordinary mmengine config of one stage: dump it, and any mmengine Runner can run it."""
    task = task_of(chain)
    config = {key: copy.deepcopy(value) for key, value in chain.config.items() if key not in CHAIN_KEYS}
    stage = chain.stages[name]
    schedule = ConfigDict({**chain.config.schedule, **stage.get('schedule', {})})
    config.update(
        default_scope=task.scope,
        custom_imports=_imports(chain),
        model=stage_model(chain, name, checkpoints),
        work_dir=str(Path(work_dir) / name),
        **dataloaders(chain, name),
        val_evaluator=task.evaluator(),
        test_evaluator=task.evaluator(),
        **_loops(schedule),
    )
    init_from = init_file(stage, checkpoints)
    own = dict(stage.get('runner') or {})
    hooks = dict(config.get('default_hooks', {}))
    hooks['checkpoint'] = {
        **dict(type='mmdet.AtomicCheckpointHook', interval=1, max_keep_ckpts=2, rule='greater', stage=name),
        **dict(save_best=chain.config.get('save_best', task.best)),
        **hooks.get('checkpoint', {}),
    }
    config['default_hooks'] = hooks
    config['custom_hooks'] = [
        dict(type='mmdet.SampleSeedHook'),
        dict(type='mmdet.FiniteLossHook'),
        dict(type='mmdet.EpochLengthHook'),
        dict(type='SyncBuffersHook'),  # BN statistics of rank 0 alone would be saved, and resumed on every rank
        *(copy.deepcopy(task.guide_hooks) if stage.get('guide') else []),
        *([dict(type='mmdet.InitFromHook', checkpoint=init_from)] if init_from else []),
        *config.get('custom_hooks', []),
        *own.pop('custom_hooks', []),
    ]
    result = Config(config)
    result.merge_from_dict(own)
    return result


def _imports(chain: Chain) -> dict:
    """`custom_imports` of a stage: what its task needs, then what the chain config names."""
    own, named = task_of(chain).imports, chain.config.get('custom_imports', {}).get('imports', [])
    return dict(imports=[*own, *(name for name in named if name not in own)], allow_failed_imports=False)


def _loops(schedule: ConfigDict) -> dict:
    """Epoch loop, warm-up, and cosine decay over `schedule.max_epochs` or, with `milestones`, × 0.1 at those epochs."""
    epochs, warmup = schedule.max_epochs, schedule.get('warmup_iters', 500)
    decay = dict(type='CosineAnnealingLR', T_max=epochs, end=epochs, convert_to_iter_based=True, eta_min_ratio=0.01)
    if schedule.get('milestones'):
        decay = dict(type='MultiStepLR', milestones=list(schedule.milestones), gamma=0.1, end=epochs)
    return dict(
        train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=epochs, val_interval=schedule.get('val_interval', 1)),
        val_cfg=dict(type='ValLoop'),
        test_cfg=dict(type='TestLoop'),
        param_scheduler=[
            *([dict(type='LinearLR', start_factor=0.01, by_epoch=False, begin=0, end=warmup)] if warmup else []),
            dict(**decay, begin=0, by_epoch=True),
        ],
    )
