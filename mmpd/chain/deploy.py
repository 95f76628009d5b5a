"""The configs that a finished stage leaves: deploy (native LR images, stock mmdet) and bench (reduced HR images)."""

from __future__ import annotations

from mmengine.config import Config

from .datasets import dataloaders, stock_dataset, with_pipeline
from .detector import walk_dicts
from .stage import Stage
from .stage_config import imports_of

PARTS = ('FSR', 'TimmBackbone')
"""Registered parts of mmpd that a deployed network can have."""


def deploy_config(stage: Stage) -> Config:
    """Plain config of a stage's network on native images: stock mmdet loads it (DESIGN §3.5).

    Only a network with parts of mmpd inside (`PARTS`, a task that the host lacks) still imports mmpd.
    """
    task = stage.task
    model = stage.network
    dataset = with_pipeline(stage.data.test, task.deploy_pipeline(stage), test_mode=True)
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
    if not task.stock or any(part.get('type') in PARTS for part in walk_dicts(model)):
        config['custom_imports'] = dict(imports=list(task.imports), allow_failed_imports=False)
    return Config(config)


def bench_config(stage: Stage) -> Config:
    """Config of a stage's network on HR images through the reduction operator: what `tools/test.py` measures."""
    task = stage.task
    return Config(
        dict(
            default_scope=task.scope,
            custom_imports=imports_of(stage),
            model=stage.network,
            test_dataloader=dataloaders(stage)['test_dataloader'],
            val_dataloader=dataloaders(stage)['val_dataloader'],
            val_cfg=dict(type='ValLoop'),
            test_cfg=dict(type='TestLoop'),
            val_evaluator=task.evaluator(),
            test_evaluator=task.evaluator(),
        )
    )
