"""What a chain must know of its task: pipelines, dataloaders and metrics. Detection is here.

Another task is one class with the same methods, registered in TASKS; the core has no other branch for it.
"""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING, Any

from mmengine.config import ConfigDict
from mmengine.registry import Registry

from ..data.pair import META_KEYS as PAIR_META_KEYS
from ..errors import ConfigError
from .detector import walk_dicts

if TYPE_CHECKING:
    from .chain import Chain

TASKS = Registry('task of a chain')
META_KEYS = list(PAIR_META_KEYS)  # a list, so that a dumped config compares equal to its source


@TASKS.register_module('detection')
class DetectionTask:
    """Boxes: mmdet's transforms, `PDMetric`.

    `data` of the chain: `train`, `val`, `test` are dataset configs without pipeline; `hr_scale` is the (width, height)
    that HR images are resized into, keeping their shape; `augment` are mmdet transforms after that, at HR;
    `batch_size` and `num_workers` are per process.
    """

    scope = 'mmdet'
    imports = ('mmpd',)
    best = 'pd/AP50'
    headline = ('AP50', 'AP')  # metrics that a summary shows
    guide_hooks = (dict(type='mmdet.AFPHook'),)  # of every stage with a guide

    def num_classes(self, chain: Chain) -> int:
        """Number of classes, from the training set's metainfo or its class.

        Raises:
            ConfigError: it can't be told.
        """
        return len(self.classes(chain))

    def classes(self, chain: Chain, split: str = 'train') -> tuple[str, ...]:
        """Class names of a split's data set."""
        from mmdet.registry import DATASETS

        dataset = innermost(chain.config.data[split])
        classes = dataset.get('metainfo', {}).get('classes')
        if classes is None:
            classes = getattr(DATASETS.get(dataset['type']), 'METAINFO', {}).get('classes')
        if not classes:
            raise ConfigError(f'data.{split}.metainfo.classes is missing: give the class names as a tuple')
        return tuple(classes)

    def network(self, chain: Chain, name: str, model: ConfigDict) -> ConfigDict:
        """The last word on a stage's model config: what follows from the task and the image size."""
        return model

    def train_pipeline(self, chain: Chain, name: str) -> list[dict]:
        """Everything random at HR, then the reduction: one augmented sample, two sizes."""
        data = chain.config.data
        paired = bool(chain.stages[name].get('guide'))
        pack: dict = dict(type='PackPairedInputs') if paired else dict(type='PackDetInputs', meta_keys=META_KEYS)
        return [
            *self._load(),
            dict(type='LoadAnnotations', with_bbox=True),
            self._resize(data.hr_scale),
            *copy.deepcopy(data.get('augment', [dict(type='RandomFlip', prob=0.5)])),
            self._reduce(chain, name, paired),
            pack,
        ]

    def test_pipeline(self, chain: Chain, name: str) -> list[dict]:
        """HR images through the same reduction; ground truth stays in original pixels."""
        return [
            *self._load(),
            self._resize(chain.config.data.hr_scale),
            self._reduce(chain, name, False),
            dict(type='LoadAnnotations', with_bbox=True),
            dict(type='PackDetInputs', meta_keys=META_KEYS),
        ]

    def deploy_pipeline(self, chain: Chain, name: str) -> list[dict]:
        """Native LR images, stock transforms only."""
        width, height = chain.config.data.hr_scale
        ratio = chain.stage_ratio(name)
        return [
            dict(type='LoadImageFromFile'),
            dict(type='Resize', scale=(math.ceil(width / ratio), math.ceil(height / ratio)), keep_ratio=True),
            dict(type='LoadAnnotations', with_bbox=True),
            dict(type='PackDetInputs', meta_keys=META_KEYS[:5]),
        ]

    def evaluator(self) -> dict:
        return dict(type='PDMetric')

    def deploy_evaluator(self) -> dict:
        """A metric that stock mmdet has."""
        return dict(type='VOCMetric', metric='mAP', eval_mode='area')

    def _load(self) -> list[dict]:
        return [dict(type='LoadImageFromFile')]

    def _resize(self, scale: tuple[int, int]) -> dict:
        return dict(type='Resize', scale=tuple(scale), keep_ratio=True)

    def _reduce(self, chain: Chain, name: str, keep_hr: bool) -> dict:
        return dict(
            type='ReduceResolution',
            ratio=str(chain.stage_ratio(name)),
            operator=chain.config.get('reduction', 'area'),
            keep_hr=keep_hr,
        )


def task_of(chain: Chain) -> Any:
    """The task of a chain: `task = 'detection'` unless it says otherwise."""
    name = chain.config.get('task', 'detection')
    if name not in TASKS:
        raise ConfigError(f'task = {name!r} is unknown: use one of {sorted(TASKS.module_dict)}')
    return TASKS.get(name)()


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
