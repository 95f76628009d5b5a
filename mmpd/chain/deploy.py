"""The configs that a finished stage leaves: deploy (native LR images, stock mmdet) and bench (reduced HR images)."""

from __future__ import annotations

from mmengine.config import Config

from .chain import Chain
from .datasets import dataloaders, stock_dataset, with_pipeline
from .detector import walk_dicts
from .stage import _imports, stage_detector
from .task import task_of

PARTS = ('FSR', 'TimmBackbone')
"""Registered parts of mmpd that a deployed network can have."""


def deploy_config(chain: Chain, name: str) -> Config:
    """Plain config of a stage's network on native images: stock mmdet loads it (DESIGN §3.5).

    Only a network with parts of mmpd inside (`PARTS`, a task that the host lacks) still imports mmpd.
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
    if not task.stock or any(part.get('type') in PARTS for part in walk_dicts(model)):
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
