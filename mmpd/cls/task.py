"""Classification as a task of the chain: mmpretrain's transforms, accuracy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mmengine.config import ConfigDict
from mmpretrain.registry import DATASETS

from ..chain.datasets import innermost
from ..chain.task import TASKS
from ..errors import ConfigError
from .data import read_class_list

if TYPE_CHECKING:
    from ..chain.stage import Stage


@TASKS.register_module('classification')
class ClassificationTask:
    """Images with one label each: mmpretrain's transforms, `PDAccuracy`.

    `data` of the chain: `train`, `val`, `test` are dataset configs without pipeline (the train set inside a
    `mmdet.SeededDataset`, which makes a resumed run equal an uninterrupted one); `hr_scale` is the (width, height) of
    HR images; `augment` are the transforms from the file's image to an HR image (default: RandomResizedCrop and flip,
    the method's); `crop` is the part of a test image's short side that is kept (default 0.875); `num_classes` may be
    left out where the train set's classes or folders tell; `batch_size` and `num_workers` are per process.
    """

    scope = 'mmpretrain'
    imports = ('mmpd', 'mmpd.cls.register')
    best = 'pd/top1'
    headline = ('top1', 'top5', 'mean_class')
    fractions = True
    guide_hooks = ()  # AFP lines up pyramids; here maps are paired by stage
    guide_size = 'hr'  # of the images that guides see
    data_keys = ('num_classes', 'crop')
    stock = True  # deployed networks need nothing of mmpd
    drawing = ('UniversalVisualizer', 'VisualizationHook')

    def num_classes(self, stage: Stage) -> int:
        """Number of classes: `data.num_classes`, or what the train set's config, class or folders say.

        Raises:
            ConfigError: it can't be told.
        """
        given = stage.data.get('num_classes')
        return int(given) if given else len(self.classes(stage))

    def classes(self, stage: Stage, split: str = 'train') -> tuple[str, ...]:
        """Class names of a split's data set. Raises ConfigError where they can't be told."""
        dataset = innermost(stage.data[split])
        if dataset.get('classes'):
            return read_class_list(dataset['classes'])
        kind = DATASETS.get(dataset['type'])
        known = dataset.get('metainfo', {}).get('classes') or (getattr(kind, 'METAINFO', None) or {}).get('classes')
        prefix = dataset.get('data_prefix', '')
        prefix = prefix.get('img_path', '') if isinstance(prefix, dict) else prefix
        root = Path(dataset.get('data_root', ''), prefix).expanduser()
        if not known and root.is_dir():
            known = sorted(path.name for path in root.iterdir() if path.is_dir())
        if not known:
            raise ConfigError(
                f'data.num_classes is missing, and {str(root)!r} of data.{split} has no class folders: set '
                'data_root to where the images are, or data.num_classes'
            )
        return tuple(known)

    def network(self, stage: Stage, model: ConfigDict) -> ConfigDict:
        """A transformer's `img_size`, from which its position embedding is made, follows the stage's image size."""
        if 'img_size' in model.get('backbone', {}):
            model.backbone.img_size = self._side(stage)
        return model

    def train_pipeline(self, stage: Stage) -> list[dict]:
        """Everything random at HR, then the reduction: one augmented sample, two sizes."""
        paired = stage.guide is not None
        crop_and_flip: list[dict] = [
            dict(
                type='RandomResizedCrop', scale=tuple(stage.data.hr_scale), backend='pillow', interpolation='bilinear'
            ),
            dict(type='RandomFlip', prob=0.5, direction='horizontal'),
        ]
        return [
            dict(type='LoadImageFromFile'),
            *stage.augment(crop_and_flip),
            self._reduce(stage, paired),
            dict(type='mmdet.PackPairedClsInputs' if paired else 'PackInputs'),
        ]

    def test_pipeline(self, stage: Stage) -> list[dict]:
        """HR images through the same reduction."""
        side = stage.data.hr_scale[0]
        return [*self._load(stage, side), self._reduce(stage, False), dict(type='PackInputs')]

    def deploy_pipeline(self, stage: Stage) -> list[dict]:
        """Native LR images, stock transforms only."""
        return [*self._load(stage, self._side(stage)), dict(type='PackInputs')]

    def deploy_train_pipeline(self, stage: Stage) -> list[dict]:
        """Native LR images, cropped and flipped at random."""
        return [
            dict(type='LoadImageFromFile'),
            dict(type='RandomResizedCrop', scale=self._side(stage), backend='pillow', interpolation='bilinear'),
            dict(type='RandomFlip', prob=0.5, direction='horizontal'),
            dict(type='PackInputs'),
        ]

    def evaluator(self) -> dict:
        return dict(type='mmdet.PDAccuracy')

    def deploy_evaluator(self, dataset: dict) -> dict:
        """A metric that mmpretrain has."""
        return dict(type='Accuracy')

    def _side(self, stage: Stage) -> int:
        """Side of the images that a stage's network sees, in their own pixels.

        Raises:
            ConfigError: HR images are not square, or ratio does not divide their side.
        """
        scale, ratio = tuple(stage.data.hr_scale), stage.ratio
        side = scale[0] / ratio
        if scale[0] != scale[1] or side.denominator != 1:
            raise ConfigError(
                f'data.hr_scale = {scale} at ratio {ratio}: give a square whose side is a multiple of '
                f'{ratio.numerator}, since LR images must be whole pixels'
            )
        return int(side)

    def _load(self, stage: Stage, side: int) -> list[dict]:
        """Load, bring the short side to side / crop, cut the centre. Pillow's resize has an antialias, cv2's none."""
        edge = round(side / stage.data.get('crop', 0.875))
        return [
            dict(type='LoadImageFromFile'),
            dict(type='ResizeEdge', scale=edge, edge='short', backend='pillow', interpolation='bilinear'),
            dict(type='CenterCrop', crop_size=side),
        ]

    def _reduce(self, stage: Stage, keep_hr: bool) -> dict:
        self._side(stage)
        return dict(
            type='mmdet.ReduceResolution',
            ratio=str(stage.ratio),
            operator=stage.reduction,
            keep_hr=keep_hr,
        )
