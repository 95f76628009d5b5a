"""Detection: what a chain must know of pipelines, classes and metrics."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mmengine.config import ConfigDict

from ..data.pair import META_KEYS as PAIR_META_KEYS
from ..data.second_camera import check_augment
from ..errors import ConfigError

if TYPE_CHECKING:
    from ..chain.stage import Stage
from ..chain.datasets import class_names
from ..chain.task import TASKS
from ..nested import bare_type

META_KEYS = list(PAIR_META_KEYS)  # a list, so that a dumped config compares equal to its source


@TASKS.register_module('detection')
class DetectionTask:
    """Boxes: mmdet's transforms, `PDMetric`.

    `data` of the chain: `train`, `val`, `test` are dataset configs without pipeline; `hr_scale` is the (width, height)
    that HR images are resized into, keeping their shape; `augment` are mmdet transforms after that, at HR (a
    stage's own `augment` takes their place);
    `batch_size` and `num_workers` are per process; `batch_by_shape` puts wide and upright training images into batches
    of their own; `lr_prefix` is the folder of a second camera's LR files.
    """

    scope = 'mmdet'
    imports = ('mmpd',)
    best = 'pd/AP50'
    headline = ('AP50', 'AP')  # metrics that a summary shows
    fractions = True
    guide_hooks = (dict(type='mmdet.AFPHook'),)  # of every stage with a guide
    guide_size = 'hr'  # of the images that guides see
    data_keys = ('lr_prefix', 'batch_by_shape')
    stock = True  # deployed networks need nothing of mmpd
    drawing = ('DetLocalVisualizer', 'DetVisualizationHook')

    def num_classes(self, stage: Stage) -> int:
        """Number of classes, from the training set's metainfo or its class.

        Raises:
            ConfigError: it can't be told, or data sets that are joined number their classes differently.
        """
        for split in ('val', 'test'):
            class_names(stage.data.get(split) or {}, f'data.{split}')  # raises where joined sets disagree
        return len(self.classes(stage))

    def classes(self, stage: Stage, split: str = 'train') -> tuple[str, ...]:
        """Class names of a split's data sets, in label order. Raises ConfigError where they are missing or disagree."""
        classes = class_names(stage.data[split], f'data.{split}')
        if not classes:
            raise ConfigError(f'data.{split}.metainfo.classes is missing: give the class names as a tuple')
        return classes

    def network(self, stage: Stage, model: ConfigDict) -> ConfigDict:
        """The last word on a stage's model config: what follows from the task and the image size."""
        return model

    def train_pipeline(self, stage: Stage) -> list[dict]:
        """Everything random at HR, then the reduction: one augmented sample, two sizes."""
        data = stage.data
        augment = stage.augment([dict(type='RandomFlip', prob=0.5)])
        if data.get('lr_prefix'):
            check_augment(augment)
        paired = stage.guide is not None
        pack: dict = dict(type='PackPairedInputs') if paired else dict(type='PackDetInputs', meta_keys=META_KEYS)
        return [
            *self._load(),
            dict(type='LoadAnnotations', with_bbox=True),
            self._resize(data.hr_scale),
            *augment,
            self._reduce(stage, paired),
            pack,
        ]

    def test_pipeline(self, stage: Stage) -> list[dict]:
        """HR images through the same reduction; ground truth stays in original pixels."""
        return [
            *self._load(),
            self._resize(stage.data.hr_scale),
            self._reduce(stage, False),
            dict(type='LoadAnnotations', with_bbox=True),
            dict(type='PackDetInputs', meta_keys=META_KEYS),
        ]

    def deploy_pipeline(self, stage: Stage) -> list[dict]:
        """Native LR images, stock transforms only; one of the size that the reduction makes passes unchanged."""
        return [
            dict(type='LoadImageFromFile'),
            self._resize(stage.image_size),
            dict(type='LoadAnnotations', with_bbox=True),
            dict(type='PackDetInputs', meta_keys=META_KEYS[:5]),
        ]

    def deploy_train_pipeline(self, stage: Stage) -> list[dict]:
        """Native LR images and their boxes, flipped or not: sizes in `data.augment` are those of HR images."""
        return [
            dict(type='LoadImageFromFile'),
            dict(type='LoadAnnotations', with_bbox=True),
            self._resize(stage.image_size),
            dict(type='RandomFlip', prob=0.5),
            dict(type='PackDetInputs'),
        ]

    def evaluator(self) -> dict:
        return dict(type='PDMetric')

    def deploy_evaluator(self, dataset: dict) -> dict:
        """A metric that stock mmdet has: COCO's for a COCO file, VOC's for all else."""
        if bare_type(dataset) == 'CocoDataset' and dataset.get('ann_file'):
            file = Path(dataset.get('data_root') or '', dataset['ann_file'])
            return dict(type='CocoMetric', ann_file=str(file), metric='bbox')
        return dict(type='VOCMetric', metric='mAP', eval_mode='area')

    def _load(self) -> list[dict]:
        return [dict(type='LoadImageFromFile')]

    def _resize(self, scale: tuple[int, int]) -> dict:
        return dict(type='Resize', scale=tuple(scale), keep_ratio=True)

    def _reduce(self, stage: Stage, keep_hr: bool) -> dict:
        own = dict(lr_prefix=stage.data.lr_prefix) if stage.data.get('lr_prefix') else {}
        return dict(
            type='ReduceResolution',
            ratio=str(stage.ratio),
            operator=stage.reduction,
            keep_hr=keep_hr,
            **own,
        )
