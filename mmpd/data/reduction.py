"""The reduction operator: HR image to LR image. One function for training and testing.

Shapes: HR image (H, W, 3) uint8, LR image (H·q/p, W·q/p, 3) uint8 for ratio = p/q.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import cv2
import numpy as np
from mmengine.registry import Registry

from ..errors import ConfigError

REDUCTIONS = Registry('reduction operator')
"""Functions `(img_hr (H, W, 3), (w, h) of the LR image in pixels) -> img_lr (h, w, 3)`."""


def parse_ratio(value: int | float | str | Fraction) -> Fraction:
    """`ratio` of a config as an exact fraction ≥ 1.

    A string `'4/3'` is the way to write a ratio that no float holds, and is taken as written; floats become the nearest
    p/q with q ≤ 16.

    Raises:
        ConfigError: not a number, or below 1.
    """
    try:
        ratio = Fraction(value)
        if isinstance(value, float):
            ratio = ratio.limit_denominator(16)
    except (TypeError, ValueError, ArithmeticError) as error:  # 1/0 and inf are arithmetic errors
        raise ConfigError(
            f"ratio = {value!r} is no number: write an integer such as 2, or a string such as '3/2'"
        ) from error
    if ratio < 1:
        raise ConfigError(f'ratio = {value!r} is below 1: it is HR side / LR side, so 2 halves both sides')
    return ratio


def _cv2_resize(
    interpolation: int,
) -> Callable[[np.ndarray, tuple[int, int]], np.ndarray]:
    return lambda img, size: cv2.resize(img, size, interpolation=interpolation)


# cv2's area is the exact box filter at every ratio (torch's is not at 3/2).
REDUCTIONS.register_module('area', module=_cv2_resize(cv2.INTER_AREA))
# cv2's bilinear has no antialias: what a cheap camera driver does, here to be compared with.
REDUCTIONS.register_module('bilinear', module=_cv2_resize(cv2.INTER_LINEAR))
REDUCTIONS.register_module('nearest', module=_cv2_resize(cv2.INTER_NEAREST))


@REDUCTIONS.register_module('lanczos')
def lanczos(img: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Antialiased Lanczos as Pillow computes it."""
    from PIL import Image

    return np.asarray(Image.fromarray(img).resize(size, Image.Resampling.LANCZOS))


def pad_to_ratio(img: np.ndarray, ratio: Fraction) -> np.ndarray:
    """Repeat the last row and column until both HR sides are multiples of p, so that HR = ratio × LR exactly.

    The image's own border pixels are repeated (at most p - 1 of them): zeros would darken the last LR row.
    """
    height, width = img.shape[:2]
    p = ratio.numerator
    bottom, right = -height % p, -width % p
    if not bottom and not right:
        return img
    return cv2.copyMakeBorder(img, 0, bottom, 0, right, cv2.BORDER_REPLICATE)


def reduce_image(img: np.ndarray, ratio: Fraction, operator: str = 'area') -> np.ndarray:
    """LR image of an HR image whose sides are multiples of ratio's numerator.

    Args:
        img: (H, W, 3) uint8, HR pixels.
        ratio: p/q ≥ 1; H and W must be multiples of p.
        operator: a name in `REDUCTIONS`.

    Returns:
        (H·q/p, W·q/p, 3) uint8.
    """
    reduction = REDUCTIONS.get(operator)
    if reduction is None:
        raise ConfigError(f'reduction = {operator!r} is unknown: use one of {sorted(REDUCTIONS.module_dict)}')
    height, width = img.shape[:2]
    if height % ratio.numerator or width % ratio.numerator:
        raise ConfigError(f'HR image {width}x{height} is no multiple of {ratio.numerator}: pad it with pad_to_ratio()')
    if ratio == 1:
        return img
    return np.ascontiguousarray(reduction(img, (int(width / ratio), int(height / ratio))))
