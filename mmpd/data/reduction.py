"""The reduction operator: HR image to LR image. One function for training and testing.

Shapes: HR image (H, W, 3) uint8, LR image (H·q/p, W·q/p, 3) uint8 for ratio = p/q.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from mmengine.registry import Registry

from ..errors import ConfigError
from ..runtime import degrade, images
from ..runtime.images import pad_to_ratio

__all__ = ['REDUCTIONS', 'operator_of', 'pad_to_ratio', 'parse_ratio', 'reduce_image']

MAX_DENOMINATOR = 16
REDUCTIONS = Registry('reduction operator')
"""Functions `(img_hr (H, W, 3), (w, h) of the LR image in pixels) -> img_lr (h, w, 3)`."""


def parse_ratio(value: int | float | str | Fraction) -> Fraction:
    """`ratio` of a config as an exact fraction ≥ 1.

    A string `'4/3'` is the way to write a ratio that no float holds. A float is one that is meant exactly, 1.5.

    Raises:
        ConfigError: not a number, a float such as 1.3333 (no p/q with q ≤ 16), or below 1.
    """
    try:
        ratio = Fraction(value)
    except (TypeError, ValueError, ArithmeticError) as error:  # 1/0 and inf are arithmetic errors
        raise ConfigError(
            f"ratio = {value!r} is no number: write an integer such as 2, or a string such as '3/2'"
        ) from error
    if isinstance(value, float) and ratio.denominator > MAX_DENOMINATOR:
        near = ratio.limit_denominator(MAX_DENOMINATOR)
        raise ConfigError(f"ratio = {value!r} is no fraction of small numbers: did you mean '{near}'?")
    if ratio < 1:
        raise ConfigError(f'ratio = {value!r} is below 1: it is HR side / LR side, so 2 halves both sides')
    return ratio


for _name, _operator in images.REDUCTIONS.items():  # the runtime has them without torch
    REDUCTIONS.register_module(_name, module=_operator)


def operator_of(reduction: str) -> degrade.Operator:
    """The function that `reduction` of a config names: an operator, or steps of degradation around one.

    Raises:
        ConfigError: see `mmpd.runtime.degrade.compose`.
    """
    return degrade.compose(reduction, REDUCTIONS.module_dict)


def reduce_image(img: np.ndarray, ratio: Fraction, operator: str = 'area') -> np.ndarray:
    """LR image of an HR image whose sides are multiples of ratio's numerator.

    Args:
        img: (H, W, 3) BGR, uint8 or float, HR pixels.
        ratio: p/q ≥ 1; H and W must be multiples of p.
        operator: a name in `REDUCTIONS`, or several steps, see `mmpd.runtime.degrade`.

    Returns:
        (H·q/p, W·q/p, 3) uint8.
    """
    reduction = operator_of(operator)
    height, width = img.shape[:2]
    if height % ratio.numerator or width % ratio.numerator:
        raise ConfigError(f'HR image {width}x{height} is no multiple of {ratio.numerator}: pad it with pad_to_ratio()')
    if ratio == 1:
        return img
    return np.ascontiguousarray(reduction(img, (int(width / ratio), int(height / ratio))))
