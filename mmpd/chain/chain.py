"""A chain config, and the ordinary mmengine config of each of its stages (schema: docs/config.md)."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from mmengine.config import Config, ConfigDict

from ..data.reduction import REDUCTIONS, parse_ratio
from ..errors import ConfigError
from .detector import detector_config, finer_levels
from .keys import check_keys, check_num_classes, check_sizes
from .task import dataloaders, stock_dataset, task_of, with_pipeline

STAGE_KEYS = {
    'detector', 'overrides', 'size', 'guide', 'init_from', 'terms', 'align', 'schedule', 'runner', 'checkpoint',
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
    for name, stage in config.stages.items():
        _check_stage(name, stage, config.stages)
    return Chain(config, ratio, _in_order(config.stages))


def _check_stage(name: str, stage: ConfigDict, stages: dict) -> None:
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
    if guide and stages[guide].get('size') == 'lr':
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
    return task_of(chain).network(chain, name, model)


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


def deploy_config(chain: Chain, name: str) -> Config:
    """Plain config of a stage's network on native images: stock mmdet loads it (DESIGN §3.5).

    Only a network with parts of mmpd inside (a deployed FSR neck) still imports mmpd.
    """
    task = task_of(chain)
    model = stage_detector(chain, name)
    dataset = with_pipeline(chain.config.data.test, task.deploy_pipeline(chain, name), test_mode=True)
    config = dict(
        default_scope=task.scope,
        model=model,
        test_dataloader=dict(
            batch_size=1,
            num_workers=2,
            sampler=dict(type='DefaultSampler', shuffle=False),
            dataset=stock_dataset(dataset),
        ),
        test_cfg=dict(type='TestLoop'),
        test_evaluator=task.deploy_evaluator(),
    )
    if "'FSR'" in str(model):
        config['custom_imports'] = dict(imports=list(task.imports), allow_failed_imports=False)
    return Config(config)


def bench_config(chain: Chain, name: str) -> Config:
    """Config of a stage's network on HR images through the reduction operator: what `tools/test.py` measures."""
    task = task_of(chain)
    return Config(
        dict(
            default_scope=task.scope,
            custom_imports=_imports(chain),
            model=stage_detector(chain, name),
            test_dataloader=dataloaders(chain, name)['test_dataloader'],
            val_dataloader=dataloaders(chain, name)['val_dataloader'],
            val_cfg=dict(type='ValLoop'),
            test_cfg=dict(type='TestLoop'),
            val_evaluator=task.evaluator(),
            test_evaluator=task.evaluator(),
        )
    )
