"""From `detector` in a chain to the model config that is trained."""

from __future__ import annotations

import copy
import importlib
import math
from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

from mmengine.config import Config, ConfigDict

from ..errors import ConfigError

PYRAMIDS = ('fine', 'cheap')


def detector_config(
    detector: str | dict,
    overrides: dict | None = None,
    num_classes: int | None = None,
    pretrained: bool = True,
    finer_levels: int = 0,
) -> ConfigDict:
    """Model config of a stage.

    Undone is what mmdet's files bring for fine-tuning at one size: `frozen_stages=1` (no gradient reaches the stem, so
    ISRD would do nothing) and `norm_eval=True` (BN statistics of another image size). `overrides` are merged last.

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
        backbone['frozen_stages'] = -1
    if 'norm_eval' in backbone:
        backbone['norm_eval'] = False
    if finer_levels:
        shift_pyramid(model, finer_levels)
    if overrides:
        # a copy: the merge takes `_delete_` out of what it merges, and the next stage may share these overrides
        model = Config._merge_a_into_b(ConfigDict(copy.deepcopy(overrides)), ConfigDict(model))
    if not pretrained:  # after the overrides: they may name other weights, and cannot be merged into a None
        for part in walk_dicts(model):
            if isinstance(part.get('init_cfg'), dict) and part['init_cfg'].get('type') == 'Pretrained':
                part['init_cfg'] = None
    return ConfigDict(model)


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


def walk_dicts(node: Any) -> Iterator[dict]:
    """Every dict in a nested config."""
    if isinstance(node, dict):
        yield node
        for value in node.values():
            yield from walk_dicts(value)
    elif isinstance(node, (list, tuple)):
        for value in node:
            yield from walk_dicts(value)


def finer_levels(model: dict, ratio: Fraction, student_pyramid: str) -> int:
    """How many levels finer the student's pyramid starts: one per factor 2 for 'fine', as far as the backbone goes.

    Raises:
        ConfigError: unknown pyramid.
    """
    if student_pyramid not in PYRAMIDS:
        raise ConfigError(f'student_pyramid = {student_pyramid!r} is unknown: use one of {PYRAMIDS}')
    if student_pyramid == 'cheap':
        return 0
    neck = model.get('neck')
    start_level = neck.get('start_level', 0) if isinstance(neck, dict) else 0
    return min(int(math.log2(ratio)), start_level)


def shift_pyramid(model: dict, levels: int) -> None:
    """Start an FPN `levels` levels finer, in place: the head's strides, anchors and regression ranges shrink alike,
    so at ratio 2^levels they are the same in HR pixels as before.

    Raises:
        ConfigError: the neck has no finer level.
    """
    neck = model['neck']
    if not isinstance(neck, dict) or neck.get('start_level', 0) < levels:
        raise ConfigError(
            f'student_pyramid = fine: neck {neck} has no {levels} finer levels; write the pyramid in overrides'
        )
    neck['start_level'] -= levels
    needed = len(neck['in_channels']) - neck['start_level']
    if neck.get('end_level', -1) == -1 and neck['num_outs'] < needed:
        raise ConfigError(
            f'student_pyramid = fine: {levels} finer levels of a backbone of {len(neck["in_channels"])} stages make '
            f"{needed} levels, but neck.num_outs = {neck['num_outs']}; set student_pyramid = 'cheap', or raise "
            'num_outs and give the head as many strides'
        )
    factor = 2**levels
    for name in ('bbox_head', 'rpn_head'):
        head = model.get(name)
        if not head:
            continue
        if 'anchor_generator' in head:
            generator = head['anchor_generator']
            generator['strides'] = [stride // factor for stride in generator['strides']]
        if 'strides' in head:
            head['strides'] = [stride // factor for stride in head['strides']]
        if 'FCOS' in head['type']:
            ranges = head.get('regress_ranges', ((-1, 64), (64, 128), (128, 256), (256, 512), (512, 1e8)))
            head['regress_ranges'] = tuple(
                tuple(side if side < 0 or side >= 1e7 else side / factor for side in pair) for pair in ranges
            )
