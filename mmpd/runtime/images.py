"""From an image file to the network's input, pixel for pixel as in training. Images are (h, w, 3) uint8 RGB."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from ..errors import ConfigError, DataError
from .degrade import compose
from .description import Description

Reduce = Callable[[np.ndarray, Fraction, str], np.ndarray]


def _pillow(image: np.ndarray, size: tuple[int, int], filter_name: str) -> np.ndarray:
    """An antialiased filter of Pillow: LANCZOS, or BICUBIC (a = -0.5, what super-resolution takes for LR images)."""
    from PIL import Image

    kernel = Image.Resampling[filter_name]
    if image.dtype == np.uint8:
        return np.asarray(Image.fromarray(image).resize(size, kernel))
    # transforms of colour give float images, which Pillow takes one channel at a time
    channels = (Image.fromarray(channel.astype(np.float32)) for channel in np.moveaxis(image, 2, 0))
    return np.stack([np.asarray(channel.resize(size, kernel)) for channel in channels], axis=2)


REDUCTIONS: dict[str, Callable[[np.ndarray, tuple[int, int]], np.ndarray]] = {
    # cv2's area is the exact box filter at every ratio (torch's is not at 3/2).
    'area': lambda image, size: cv2.resize(image, size, interpolation=cv2.INTER_AREA),
    # cv2's bilinear has no antialias: what a cheap camera driver does, here to be compared with.
    'bilinear': lambda image, size: cv2.resize(image, size, interpolation=cv2.INTER_LINEAR),
    'nearest': lambda image, size: cv2.resize(image, size, interpolation=cv2.INTER_NEAREST),
    'lanczos': partial(_pillow, filter_name='LANCZOS'),
    'bicubic': partial(_pillow, filter_name='BICUBIC'),
}
"""Functions `(HR image (H, W, 3), (w, h) of the LR image in pixels) -> (h, w, 3)`."""


@dataclass(frozen=True)
class Prepared:
    """One image, ready for the network.

    Attributes:
        image: the network's input, LR pixels, before normalisation and padding.
        scale: (x, y) factors from pixels of the file to pixels of `image`.
        size: (width, height) of the file. source: 'lr' or 'hr': what the file was taken for.
    """

    image: np.ndarray
    scale: tuple[float, float]
    size: tuple[int, int]
    source: str


def read_image(path: str | Path) -> np.ndarray:
    """An image file as RGB, turned as its EXIF orientation says.

    Raises:
        DataError: no such file, or not an image.
    """
    if not Path(path).is_file():
        raise DataError(f'image {path}: no such file')
    try:
        image = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
    except (cv2.error, OSError) as error:
        raise DataError(f'image {path} cannot be read: {error}') from error
    if image is None:
        raise DataError(f'image {path} cannot be read: not an image, or damaged')
    return np.ascontiguousarray(image[..., ::-1])


def write_image(path: Path, image: np.ndarray) -> None:
    """An RGB image as a file of the format that its name says.

    Raises:
        DataError: it could not be written; says why (cv2.imwrite returns False, or True where the disk was full).
    """
    _, encoded = cv2.imencode(path.suffix, image[..., ::-1])
    try:
        path.write_bytes(encoded.tobytes())
    except OSError as error:
        raise DataError(f'{path} could not be written: {error.strerror or error}') from error


def prepare(
    image: np.ndarray, description: Description, source: str = 'auto', reduce: Reduce | None = None
) -> Prepared:
    """Resize a native LR image, or bring an HR image to LR as the training did.

    Args:
        image: (h, w, 3) uint8 RGB.
        source: 'lr', 'hr', or 'auto': the one of the two whose size is nearer, by the geometric mean.
        reduce: HR image, ratio and operator to LR image; default: `reduce_hr`.

    Raises:
        ConfigError: 'hr' where the HR size is not known, or an operator that only the training package has.
        DataError: so thin that its short side would have no pixel left.
    """
    height, width = image.shape[:2]
    hr_size, ratio = description.hr_size, Fraction(description.ratio)
    if source == 'auto':
        factor = max(fit_size((width, height), description.size)) / max(width, height)
        source = 'hr' if hr_size and ratio > 1 and factor < 1 / math.sqrt(ratio) else 'lr'
    if source == 'lr':
        seen = resize(image, description.size)
        scale = (seen.shape[1] / width, seen.shape[0] / height)
        return Prepared(seen, scale, (width, height), source)
    if hr_size is None:
        raise ConfigError("the HR size of this network is not known: give native LR images (--input lr), or export it "
                          'from its stage folder')  # fmt: skip
    hr = resize(image, hr_size)
    scale = (hr.shape[1] / width / float(ratio), hr.shape[0] / height / float(ratio))
    bgr = np.ascontiguousarray(hr[..., ::-1])  # as the training reads its images: JPEG treats the channels differently
    seen = np.ascontiguousarray((reduce or reduce_hr)(bgr, ratio, description.reduction)[..., ::-1])
    return Prepared(seen, scale, (width, height), source)


def fit_size(size: tuple[int, int], into: tuple[int, int]) -> tuple[int, int]:
    """(width, height) of an image resized into `into`, its shape kept; long side to long side, rounded as mmcv does."""
    width, height = size
    factor = min(max(into) / max(width, height), min(into) / min(width, height))
    return int(width * factor + 0.5), int(height * factor + 0.5)


def resize(image: np.ndarray, into: tuple[int, int]) -> np.ndarray:
    """An image resized into `into`, its shape kept. Raises DataError: its short side would have no pixel left."""
    height, width = image.shape[:2]
    size = fit_size((width, height), into)
    if not all(size):
        raise DataError(f'an image of {width}×{height} pixels is too thin: its short side would have no pixel left')
    return cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)


def reduce_hr(image: np.ndarray, ratio: Fraction, operator: str) -> np.ndarray:
    """HR to LR: border pixels repeated up to a multiple of ratio's numerator, then the operator.

    Raises:
        ConfigError: the runtime does not have the operator.
    """
    try:
        apply = compose(operator, REDUCTIONS)
    except ConfigError as error:
        raise ConfigError(
            f'reduction {operator!r} is not in the runtime, which has {sorted(REDUCTIONS)}: give native LR images '
            '(--input lr), or run the weights instead of the .onnx file'
        ) from error
    padded = pad_to_ratio(image, ratio)
    size = (int(padded.shape[1] / ratio), int(padded.shape[0] / ratio))
    return padded if ratio == 1 else np.ascontiguousarray(apply(padded, size))


def pad_to_ratio(image: np.ndarray, ratio: Fraction) -> np.ndarray:
    """Repeat the last row and column until both HR sides are multiples of p, so that HR = ratio × LR exactly.

    The image's own border pixels are repeated (at most p - 1 of them): zeros would darken the last LR row.
    """
    bottom, right = -image.shape[0] % ratio.numerator, -image.shape[1] % ratio.numerator
    if not bottom and not right:
        return image
    return cv2.copyMakeBorder(image, 0, bottom, 0, right, cv2.BORDER_REPLICATE)
