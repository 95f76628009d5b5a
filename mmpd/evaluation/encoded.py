"""Bytes of an image on the link or the disk, at the size that a network sees: measured on the user's own images."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from ..errors import ConfigError
from ..runtime.degrade import carried, few_pixels
from ..runtime.images import read_image, resize
from .predict import reduce_hr

_CODECS = {'jpeg': ('.jpg', cv2.IMWRITE_JPEG_QUALITY), 'webp': ('.webp', cv2.IMWRITE_WEBP_QUALITY)}


def parse_codec(text: str) -> tuple[str, int]:
    """`jpeg:90` as a codec and a quality; `raw` has none.

    Raises:
        ConfigError: no such codec or quality.
    """
    name, _, quality = text.partition(':')
    if name == 'raw' and not quality:
        return name, 0
    if name not in _CODECS or not quality.isdigit() or not 1 <= int(quality) <= 100:
        raise ConfigError(f'--encode {text!r}: write raw, or jpeg:QUALITY or webp:QUALITY with a quality of 1 to 100')
    return name, int(quality)


def encoded_bytes(
    images: Sequence[str | Path], hr_size: tuple[int, int], ratio: Fraction, operator: str, codecs: Sequence[str]
) -> dict[str, float]:
    """Mean bytes of one image by codec, each image resized into `hr_size` and reduced by `ratio` as in training.

    Of a `coarse` step the few pixels count: that is what is carried.

    Raises:
        DataError: a file is no image.
    """
    parsed = {text: parse_codec(text) for text in codecs}
    made_small, coarse = carried(operator)
    sums = dict.fromkeys(parsed, 0)
    for path in images:
        hr = np.ascontiguousarray(resize(read_image(path), hr_size)[..., ::-1])  # BGR, as the training reads it
        seen = reduce_hr(hr, ratio, made_small)
        if ratio > 1:  # HR images are not reduced
            seen = few_pixels(seen, coarse)
        for text, (name, quality) in parsed.items():
            sums[text] += seen.nbytes if name == 'raw' else _size(seen, name, quality)
    return {text: total / len(images) for text, total in sums.items()}


def _size(image: np.ndarray, codec: str, quality: int) -> int:
    suffix, flag = _CODECS[codec]
    _, encoded = cv2.imencode(suffix, image, [flag, quality])
    return len(encoded)
