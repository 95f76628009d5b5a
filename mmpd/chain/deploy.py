"""The configs that a finished stage leaves: deploy (native LR images, stock mmdet) and bench (reduced HR images).

Both are whole: the host library's own tools read loaders, evaluators and loops of all three splits from them, a
visualizer and the hook that draws.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import mmengine.registry
from mmengine.config import Config, ConfigDict

from ..nested import bare_type, walk_dicts
from .datasets import dataloaders, stock_dataset, with_pipeline
from .stage import Stage
from .stage_config import imports_of, loops

PARTS = ('FSR', 'TimmBackbone')
"""Registered parts of mmpd that a deployed network can have."""

HOSTS = {'mmpd', 'mmdet', 'mmengine', 'mmcv', 'torch'}
"""Packages whose classes are there without `custom_imports`; so are those of the task's scope."""


def deploy_config(stage: Stage) -> Config:
    """Plain config of a stage's network on native images: stock mmdet loads it (DESIGN §3.5).

    Only a network with parts of mmpd inside (`PARTS`, a task that the host lacks) still imports mmpd, and only one with
    parts of the user's own (or a data set that is) what the chain's `custom_imports` names.
    """
    task = stage.task
    model = stage.network
    config = dict(default_scope=task.scope, model=model)
    for split in ('val', 'test'):
        dataset = stock_dataset(with_pipeline(stage.data[split], task.deploy_pipeline(stage), test_mode=True))
        config[f'{split}_dataloader'] = dict(_loader(dataset, shuffle=False), batch_size=1)
        config[f'{split}_evaluator'] = task.deploy_evaluator(dataset)
    config.update(**_training(stage, task.deploy_train_pipeline(stage), stock=True), **_drawing(stage))
    ours = not task.stock or any(bare_type(part) in PARTS for part in walk_dicts(model))
    own = not _packages(config, task.scope) <= HOSTS | {task.scope}
    imports = [name for name in imports_of(stage)['imports'] if (ours if name.partition('.')[0] == 'mmpd' else own)]
    if imports:
        config['custom_imports'] = dict(imports=imports, allow_failed_imports=False)
    return Config(config)


def bench_config(stage: Stage) -> Config:
    """Config of a stage's network on HR images through the reduction operator: what `tools/test.py` measures."""
    task = stage.task
    loaders = dataloaders(stage)
    alone = replace(stage, guide=None)  # its training images, and not the guide's beside them
    return Config(
        dict(
            default_scope=task.scope,
            custom_imports=imports_of(stage),
            model=stage.network,
            test_dataloader=loaders['test_dataloader'],
            val_dataloader=loaders['val_dataloader'],
            val_evaluator=task.evaluator(),
            test_evaluator=task.evaluator(),
            **_training(stage, task.train_pipeline(alone)),
            **_drawing(stage),
        )
    )


def _packages(config: dict, scope: str) -> set[str]:
    """The packages that register the types in a config whose default scope is `scope`."""
    kinds = {(str(part['type']), bare_type(part)) for part in walk_dicts(config) if 'type' in part}
    names, scopes = {bare for _, bare in kinds}, {scope, *(kind.partition('.')[0] for kind, _ in kinds)}
    roots = [one for one in vars(mmengine.registry).values() if isinstance(one, mmengine.registry.Registry)]
    nodes = [node for root in roots for node in (root, *(root.children[one] for one in scopes & {*root.children}))]
    return {
        part.__module__.partition('.')[0] for node in nodes for name, part in node.module_dict.items() if name in names
    }


def _loader(dataset: ConfigDict, shuffle: bool) -> dict[str, Any]:
    return dict(num_workers=2, sampler=dict(type='DefaultSampler', shuffle=shuffle), dataset=dataset)


def _training(stage: Stage, pipeline: list[dict], stock: bool = False) -> dict[str, Any]:
    """Loops, and what a plain training on the stage's images takes: a Runner accepts all of it or none.

    The training set stands bare, as mmdet's tools expect it, where the chain's own wraps it to seed its samples.

    Args:
        pipeline: from the file to the network's input; [] where it can't be trained on these images alone.
        stock: in the host library's data sets.
    """
    every = loops(stage.schedule)
    optim_wrapper = Config(dict(optim_wrapper=stage.chain_config.get('optim_wrapper') or {}))
    own = (stage.entry.get('runner') or {}).get('optim_wrapper')
    optim_wrapper.merge_from_dict(copy.deepcopy(dict(optim_wrapper=own)) if own else {})
    if not pipeline or not optim_wrapper.optim_wrapper:
        return {key: every[key] for key in ('val_cfg', 'test_cfg')}
    dataset = with_pipeline(stage.data.train, pipeline)
    while bare_type(dataset) == 'SeededDataset':
        dataset = dataset.dataset
    loader = _loader(stock_dataset(dataset) if stock else dataset, shuffle=True)
    loader['batch_size'] = stage.data.get('batch_size', 8)
    hooks = {} if stock else dict(custom_hooks=[dict(type='mmdet.SampleSeedHook')])  # it tells the set its epoch
    return dict(train_dataloader=loader, optim_wrapper=optim_wrapper.optim_wrapper.to_dict(), **hooks, **every)


def _drawing(stage: Stage) -> dict[str, Any]:
    """A visualizer and the hook that draws with it when `--show-dir` asks; {} where the host has none for the task."""
    if stage.task.drawing is None:
        return {}
    visualizer, hook = stage.task.drawing
    return dict(
        visualizer=dict(type=visualizer, name='visualizer', vis_backends=[dict(type='LocalVisBackend')]),
        default_hooks=dict(visualization=dict(type=hook)),
    )
