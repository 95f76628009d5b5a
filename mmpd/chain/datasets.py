"""Data set configs of a chain: wrappers, pipelines, dataloaders."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from mmengine.config import ConfigDict

from .detector import walk_dicts

if TYPE_CHECKING:
    from .chain import Chain
from .task import task_of


def innermost(dataset: dict) -> dict:
    """A dataset config without its wrappers (ConcatDataset, RepeatDataset)."""
    while 'dataset' in dataset or 'datasets' in dataset:
        dataset = dataset['dataset'] if 'dataset' in dataset else dataset['datasets'][0]
    return dataset


def dataloaders(chain: Chain, name: str) -> dict[str, Any]:
    """train, val and test dataloaders of a stage. Workers are made anew each epoch, which a resumed run repeats."""
    task, data = task_of(chain), chain.config.data
    workers = data.get('num_workers', 2)
    common = dict(num_workers=workers, persistent_workers=False, drop_last=False)
    loaders: dict[str, Any] = dict(
        train_dataloader=dict(
            **{**common, 'drop_last': True},
            batch_size=data.get('batch_size', 8),
            sampler=dict(type='DefaultSampler', shuffle=True),
            dataset=with_pipeline(data.train, task.train_pipeline(chain, name)),
        )
    )
    for split in ('val', 'test'):
        loaders[f'{split}_dataloader'] = dict(
            **common,
            batch_size=data.get('val_batch_size', data.get('batch_size', 8)),
            sampler=dict(type='DefaultSampler', shuffle=False),
            dataset=with_pipeline(data[split], task.test_pipeline(chain, name), test_mode=True),
        )
    return loaders


def with_pipeline(dataset: dict, pipeline: list[dict], **extra: Any) -> ConfigDict:
    """A data set config, wrapped or not, with its pipeline (and other keys) inside."""
    dataset = copy.deepcopy(ConfigDict(dataset))
    parts = [dataset]
    while parts:
        part = parts.pop()
        if 'dataset' in part or 'datasets' in part:
            parts += [part['dataset']] if 'dataset' in part else part['datasets']
        else:
            part.update(pipeline=copy.deepcopy(pipeline), **extra)
    return dataset


def stock_dataset(dataset: ConfigDict) -> ConfigDict:
    """The same data set in mmdet's own classes: `init_detector` builds it for the palette, where mmpd is unknown."""
    for part in walk_dicts(dataset):
        if part.get('type') == 'PDVOCDataset':
            part['type'] = 'VOCDataset'
            part.setdefault('data_prefix', dict(sub_data_root=''))
            for key in ('unknown_classes', 'seed'):
                part.pop(key, None)
    return dataset
