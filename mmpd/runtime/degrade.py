"""Honest degradations: what a cheap camera or a thin link does to an LR image, besides making it small (ours).

A reduction is written as steps joined by `+`: `'blur:0.7+area+noise:3+jpeg:60'`. Exactly one of them makes the image
small (a reduction operator); those before it see HR pixels, those after it LR pixels. A step depends on the pixels
alone, noise included, so a student is tested on the pixels that it was trained on. Images are (h, w, 3) BGR, uint8 or
float in 0..255; what comes out has the type of what went in.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping

import cv2
import numpy as np

from ..errors import ConfigError

Operator = Callable[[np.ndarray, tuple[int, int]], np.ndarray]
Step = Callable[[np.ndarray, float], np.ndarray]


def blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur with a deviation of `sigma` pixels: the optics."""
    return cv2.GaussianBlur(image, (0, 0), sigma)


def noise(image: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian noise with a deviation of `sigma` grey levels, the same for the same pixels: the sensor."""
    rng = np.random.default_rng(zlib.crc32(np.ascontiguousarray(image).tobytes()))
    return _like(image, image + sigma * rng.standard_normal(image.shape))


def jpeg(image: np.ndarray, quality: float) -> np.ndarray:
    """Encoded and decoded as JPEG of a quality from 1 to 100: the link."""
    return _coded(image, '.jpg', cv2.IMWRITE_JPEG_QUALITY, quality)


def webp(image: np.ndarray, quality: float) -> np.ndarray:
    """Encoded and decoded as WebP of a quality from 1 to 100."""
    return _coded(image, '.webp', cv2.IMWRITE_WEBP_QUALITY, quality)


def bayer(image: np.ndarray, _: float) -> np.ndarray:
    """One colour a pixel (RGGB), the others interpolated bilinearly: a sensor behind a colour filter."""
    bytes_ = _bytes(image)
    mosaic = bytes_[..., 1].copy()
    mosaic[::2, ::2] = bytes_[::2, ::2, 2]
    mosaic[1::2, 1::2] = bytes_[1::2, 1::2, 0]
    return _like(image, cv2.demosaicing(mosaic, cv2.COLOR_BayerRGGB2BGR))


def coarse(image: np.ndarray, factor: float) -> np.ndarray:
    """Box-averaged to 1/factor of the sides and enlarged again, bilinearly: pixels that a camera or link did not carry,
    on the grid that the network is to have all the same. It is how a native image of that size is brought to the grid.
    """
    height, width = image.shape[:2]
    return cv2.resize(few_pixels(image, factor), (width, height), interpolation=cv2.INTER_LINEAR)


def few_pixels(image: np.ndarray, factor: float) -> np.ndarray:
    """What `coarse` enlarges: what was carried."""
    height, width = image.shape[:2]
    size = (max(1, round(width / factor)), max(1, round(height / factor)))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


STEPS: dict[str, tuple[Step, tuple[float, float] | None]] = {
    'blur': (blur, (0.1, 20)),
    'noise': (noise, (0.1, 100)),
    'jpeg': (jpeg, (1, 100)),
    'webp': (webp, (1, 100)),
    'bayer': (bayer, None),
    'coarse': (coarse, (1, 16)),
}
"""Name → step, and the range of the number behind its colon (None: it takes none)."""


def compose(reduction: str, operators: Mapping[str, Operator]) -> Operator:
    """The operator that a `reduction` describes: a name of `operators`, or several steps.

    Raises:
        ConfigError: an unknown step, a number out of range, or not exactly one step that makes the image small.
    """
    steps: list[tuple[Operator | None, Step | None, float]] = []
    for part in str(reduction).split('+'):
        name, _, number = part.strip().partition(':')
        if name in operators and not number:
            steps.append((operators[name], None, 0.0))
        else:
            steps.append((None, *_step(reduction, name, number, operators)))
    if sum(operator is not None for operator, _, _ in steps) != 1:
        raise ConfigError(
            f'reduction = {reduction!r}: exactly one step must make the image small, one of {sorted(operators)}'
        )

    def apply(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        for operator, step, value in steps:
            image = operator(image, size) if operator else step(image, value)  # type: ignore[misc]
        return image

    return apply


def carried(reduction: str) -> tuple[str, float]:
    """The reduction without its `coarse` steps, and their factor: what was carried has the network's sides over it."""
    parts = [part.strip() for part in str(reduction).split('+')]
    factors = [float(part.partition(':')[2]) for part in parts if part.startswith('coarse:')]
    return '+'.join(part for part in parts if not part.startswith('coarse:')), math.prod(factors)


def _step(reduction: str, name: str, number: str, operators: Mapping[str, Operator]) -> tuple[Step, float]:
    if name not in STEPS:
        raise ConfigError(
            f'reduction = {reduction!r}: {name!r} is unknown; use one of {sorted(operators)}, with any of '
            f'{sorted(STEPS)} before or behind it, as in blur:0.7+area+noise:3+jpeg:60'
        )
    step, limits = STEPS[name]
    if limits is None:
        if number:
            raise ConfigError(f'reduction = {reduction!r}: {name} takes no number')
        return step, 0.0
    try:
        value = float(number)
    except ValueError:
        value = float('nan')
    if not limits[0] <= value <= limits[1]:
        raise ConfigError(
            f'reduction = {reduction!r}: {name}:{number or "?"} needs a number from {limits[0]:g} to {limits[1]:g}'
        )
    return step, value


def _coded(image: np.ndarray, extension: str, key: int, quality: float) -> np.ndarray:
    _, encoded = cv2.imencode(extension, _bytes(image), [key, int(quality)])
    return _like(image, np.asarray(cv2.imdecode(encoded, cv2.IMREAD_COLOR)))


def _bytes(image: np.ndarray) -> np.ndarray:
    return image if image.dtype == np.uint8 else np.clip(np.rint(image), 0, 255).astype(np.uint8)


def _like(image: np.ndarray, changed: np.ndarray) -> np.ndarray:
    """`changed` in the type of `image`."""
    return _bytes(changed) if image.dtype == np.uint8 else changed.astype(image.dtype)
