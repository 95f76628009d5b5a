"""Real pairs: an LR camera beside the HR one. Its files take the place of reduced HR images ("ours").

The sample is augmented at HR; mmdet's transforms note their geometry in `homography_matrix`, which is replayed on the
LR file. What changes colours alone is not: the LR image keeps its camera's.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import cv2
import mmcv
import numpy as np

from ..errors import ConfigError, DataError
from ..nested import bare_type
from .image_header import find_image

REPLAYED = {'Resize', 'RandomResize', 'RandomChoiceResize', 'RandomFlip', 'RandomCrop', 'RandomAffine'}
COLOUR = {'PhotoMetricDistortion', 'YOLOXHSVRandomAug', 'ColorTransform', 'AutoContrast', 'Brightness', 'Contrast'}
AROUND = {'RandomApply', 'RandomChoice', 'TransformBroadcaster'}


def check_augment(augment: Iterable[dict]) -> None:
    """Whether every transform notes its geometry, or has none.

    Raises:
        ConfigError: naming those that would move the HR image and not the LR one.
    """
    known, wrong = REPLAYED | COLOUR | AROUND, []
    pending = list(augment)
    while pending:
        part = pending.pop()
        if isinstance(part, (list, tuple)):
            pending += part
            continue
        name = bare_type(part)
        wrong += [name] if name not in known else []
        pending += part.get('transforms', [])
    if wrong:
        raise ConfigError(
            f'data.lr_prefix with {", ".join(sorted(set(wrong)))} in data.augment: it does not note how it moves the '
            f'image, so the LR image would not move with it; use {", ".join(sorted(known))}'
        )


def lr_file(image_path: str, lr_prefix: str) -> Path:
    """The LR file of an HR one: the same name, any image extension, in `lr_prefix` (relative to the HR file's folder).

    Raises:
        DataError: there is none.
    """
    path = Path(image_path)
    return find_image(path.parent / lr_prefix, path.stem)


def replay(
    image: np.ndarray, homography: np.ndarray | None, ratio: Fraction, hr_shape: tuple[int, int], size: tuple[int, int]
) -> np.ndarray:
    """The LR camera's image, moved as the HR one was.

    Args:
        image: (h, w, 3) of the LR file.
        homography: (3, 3), from pixels of the HR file to those of the augmented HR image; pixel *edges* are whole
            numbers. None: not moved.
        ratio: HR side / LR side.
        hr_shape: (height, width) of the HR file.
        size: (width, height) of the LR image that is wanted.

    Returns:
        (height, width, 3) of `size`.

    Raises:
        DataError: the two files do not have the ratio of the chain.
    """
    wanted = tuple(-(-side * ratio.denominator // ratio.numerator) for side in hr_shape)
    if image.shape[:2] != wanted:
        raise DataError(
            f'the HR file has {hr_shape[1]}×{hr_shape[0]} pixels and its LR file {image.shape[1]}×{image.shape[0]}; at '
            f'ratio = {ratio} it must have {wanted[1]}×{wanted[0]}'
        )
    factor = float(ratio)
    moved = np.eye(3) if homography is None else np.asarray(homography, np.float64)
    matrix = np.diag([1 / factor, 1 / factor, 1]) @ moved @ np.diag([factor, factor, 1])
    shrink = abs(np.linalg.det(matrix[:2, :2])) ** 0.5
    if shrink < 0.99:  # a warp alone would skip pixels
        small = [max(round(side * shrink), 1) for side in image.shape[1::-1]]
        matrix = matrix @ np.diag([image.shape[1] / small[0], image.shape[0] / small[1], 1])
        image = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
    centre = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])  # OpenCV counts from pixel centres
    matrix = np.linalg.inv(centre) @ matrix @ centre
    return cv2.warpPerspective(image, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def read_lr(image_path: str, lr_prefix: str) -> np.ndarray:
    """The LR file of an HR one as BGR (h, w, 3). Raises DataError."""
    path = lr_file(image_path, lr_prefix)
    image = mmcv.imread(str(path))
    if image is None:
        raise DataError(f'image {path} cannot be decoded')
    return image
