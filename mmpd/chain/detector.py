"""From `detector` in a chain to the model config that is trained."""

from __future__ import annotations

import copy
import importlib
from functools import cache
from pathlib import Path

from mmengine.config import Config, ConfigDict

from ..errors import ConfigError
from ..nested import bare_type, walk_dicts
from .pyramid import shift_pyramid

# Every map of these backbones has ceil(side / stride) cells, and FPN adds maps of any two sizes: nothing to pad.
# Windows of a Swin, necks that enlarge by a factor (RTMDet's, YOLOX's, FSR) or masks of a DETR are not among them.
ANY_SIZE_BACKBONES = {
    'ResNet', 'ResNetV1d', 'ResNeXt', 'Res2Net', 'RegNet', 'MobileNetV2', 'EfficientNet',
}  # fmt: skip
ANY_SIZE_NECKS = {'FPN'}
# These enlarge a map by 2 and join it to the next finer one, so both sides of an image must be multiples of 32.
DOUBLING_NECKS = {'CSPNeXtPAFPN', 'YOLOXPAFPN', 'YOLOV3Neck'}
# The `frozen_stages` that freezes nothing, where it is not -1: these count the frozen parts, stem included.
NOTHING_FROZEN = {'EfficientNet': 0, 'EfficientNetV2': 0, 'ConvNeXt': 0, 'EdgeNeXt': 0, 'PoolFormer': 0}


def detector_config(
    detector: str | dict,
    overrides: dict | None = None,
    num_classes: int | None = None,
    pretrained: bool = True,
    finer_levels: int = 0,
) -> ConfigDict:
    """Model config of a stage.

    Undone is what mmdet's files bring for fine-tuning at one size: `frozen_stages=1` (no gradient reaches the stem, so
    ISRD would do nothing), `norm_eval=True` (BN statistics of another image size) and `pad_size_divisor=32` where the
    network takes images of any size (80×60 pixels would become 96×64, 28 % more). `overrides` are merged last.

    Args:
        detector: `'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'` (or mmpretrain's), a config file, or a model dict.
        num_classes: set in every head.
        pretrained: keep the backbone's `init_cfg=dict(type='Pretrained', …)`, the file's or that of overrides.
        finer_levels: make the pyramid start that many levels finer, see `shift_pyramid`.

    Raises:
        ConfigError: no such config, or no model in it.
    """
    model = copy.deepcopy(_model_of(detector))
    for part in walk_dicts(model):
        if num_classes is not None and 'num_classes' in part:
            part['num_classes'] = num_classes
    backbone = model.get('backbone', {})
    if 'frozen_stages' in backbone:
        backbone['frozen_stages'] = nothing_frozen(backbone)
    if 'norm_eval' in backbone:
        backbone['norm_eval'] = False
    if finer_levels:
        shift_pyramid(model, finer_levels)
    if overrides:
        # a copy: the merge takes `_delete_` out of what it merges, and the next stage may share these overrides
        model = Config._merge_a_into_b(ConfigDict(copy.deepcopy(overrides)), ConfigDict(model))
    padding = model.get('data_preprocessor') or {}
    if 'pad_size_divisor' in padding and takes_any_size(model) and not _says_divisor(overrides):
        padding['pad_size_divisor'] = 1
    if padding and isinstance(model.get('neck'), dict) and model['neck'].get('type') in DOUBLING_NECKS:
        padding.setdefault('pad_size_divisor', 32)  # RTMDet's files pad in their pipeline, which is not ours
    if not pretrained:  # after the overrides: they may name other weights, and cannot be merged into a None
        drop_pretrained(model)
    return ConfigDict(model)


def drop_pretrained(model: dict) -> None:
    """Take out every mention of pretrained weights, in place: `init_cfg`, the older `pretrained='torchvision://…'`, and
    the `pretrained=True` with which a timm backbone fetches its own."""
    for part in walk_dicts(model):
        init = part.get('init_cfg')
        if isinstance(init, dict) and (init.get('type') == 'Pretrained' or 'checkpoint' in init):  # PVT's has no type
            part['init_cfg'] = None
        if isinstance(part.get('pretrained'), str):
            part['pretrained'] = None
        elif part.get('pretrained'):
            part['pretrained'] = False


def nothing_frozen(backbone: dict) -> int:
    """The `frozen_stages` with which all of a backbone trains."""
    return NOTHING_FROZEN.get(bare_type(backbone), -1)


def takes_any_size(model: dict) -> bool:
    """Whether a network gives its full grids for images of any size, so that no batch needs padding to a multiple."""
    backbone, neck = model.get('backbone') or {}, model.get('neck') or {}
    if not isinstance(neck, dict) or 'scale_factor' in (neck.get('upsample_cfg') or {}):
        return False
    return bare_type(backbone) in ANY_SIZE_BACKBONES and bare_type(neck) in ANY_SIZE_NECKS


def pad_divisor(model: dict) -> int:
    """What the sides of a network's images are padded to multiples of; 1 where they are not."""
    return (model.get('data_preprocessor') or {}).get('pad_size_divisor', 1)


def _says_divisor(overrides: dict | None) -> bool:
    return 'pad_size_divisor' in ((overrides or {}).get('data_preprocessor') or {})


def _model_of(detector: str | dict) -> dict:
    if isinstance(detector, dict):
        return ConfigDict(detector)
    return _read_model(detector)


@cache
def _read_model(detector: str) -> dict:
    """The model in a config file; half a second where it has four bases, and a chain asks for it ten times."""
    path = Path(detector)
    if '::' in detector:
        package, _, name = detector.partition('::')
        path = Path(importlib.import_module(package).__file__ or '').parent / '.mim' / 'configs' / name
    if not path.is_file():
        raise ConfigError(
            f"detector = {detector!r}: no such config file; use e.g. 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'"
        )
    config = Config.fromfile(path)
    if 'model' not in config:
        raise ConfigError(f'detector = {detector!r}: this config has no model')
    if 'data_preprocessor' in config:  # mmpretrain's files keep it beside the model; a Runner puts it in, and so do we
        config.model.setdefault('data_preprocessor', config.data_preprocessor)
    return config.model
