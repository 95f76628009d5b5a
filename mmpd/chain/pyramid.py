"""The student's pyramid: 'fine' or 'cheap'."""

from __future__ import annotations

import inspect
import math
from fractions import Fraction
from typing import Any

from ..errors import ConfigError

PYRAMIDS = ('fine', 'cheap')
STRIDES = ('strides', 'point_strides')
GENERATORS = ('anchor_generator', 'approx_anchor_generator', 'square_anchor_generator')
RANGES = ('regress_ranges', 'scale_ranges', 'base_edge_list')
"""Object sizes in pixels for which a head's levels are trained: FCOS, CenterNet; FoveaBox."""


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
    for name in ('bbox_head', 'rpn_head'):
        if isinstance(model.get(name), dict):
            _shrink_head(model[name], 2**levels)


def _shrink_head(head: dict, factor: int) -> None:
    """Divide a head's strides, anchors and object sizes, in place; also those that its class has and its config not."""
    for key in STRIDES:
        if key in head:
            head[key] = [stride // factor for stride in head[key]]
    for key in GENERATORS:
        generator = _given_or_default(head, key)
        if generator and 'strides' in generator:
            head[key] = {**generator, 'strides': [stride // factor for stride in generator['strides']]}
    for key in RANGES:
        ranges = _given_or_default(head, key)
        if ranges:
            head[key] = _divided(ranges, factor)


def _divided(sizes: Any, factor: int) -> Any:
    if isinstance(sizes, (tuple, list)):
        return tuple(_divided(one, factor) for one in sizes)
    return sizes if sizes < 0 or sizes >= 1e7 else sizes / factor  # 'no limit'


def _given_or_default(head: dict, key: str) -> Any:
    """`head[key]`, else the default of its class, or of the one above it that it hands the key on to; None: none."""
    if key in head:
        return head[key]
    from mmdet.registry import MODELS

    kind = head.get('type', '')
    kind = kind if isinstance(kind, type) else MODELS.get(kind)
    for base in getattr(kind, '__mro__', ()):
        if '__init__' not in vars(base):
            continue
        parameters = inspect.signature(base.__init__).parameters
        if key in parameters:
            default = parameters[key].default
            return None if default is inspect.Parameter.empty else default
        if all(one.kind is not inspect.Parameter.VAR_KEYWORD for one in parameters.values()):
            return None
    return None
