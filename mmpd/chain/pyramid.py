"""The student's pyramid: 'fine' or 'cheap'."""

from __future__ import annotations

import math
from fractions import Fraction

from ..errors import ConfigError

PYRAMIDS = ('fine', 'cheap')


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
