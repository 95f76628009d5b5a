"""PSNR and SSIM of images, as the field measures them: border shaved, on Y of YCbCr and on RGB."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from mmdet.registry import METRICS
from mmengine.evaluator import BaseMetric
from torch import Tensor

from ..errors import ConfigError

_WINDOW, _SIGMA = 11, 1.5


def luma(image: Tensor) -> Tensor:
    """Y of ITU-R BT.601 as MATLAB's rgb2ycbcr has it, 16..235: (3, H, W) RGB 0..255 to (1, H, W), not rounded."""
    red, green, blue = image.double()
    return (16 + (65.481 * red + 128.553 * green + 24.966 * blue) / 255)[None]


def shave(image: Tensor, border: int) -> Tensor:
    """(C, H, W) without `border` pixels on each side."""
    return image[:, border : image.shape[1] - border, border : image.shape[2] - border] if border else image


def psnr(image: Tensor, target: Tensor) -> float:
    """10·log₁₀(255² / MSE) in dB over all values of (C, H, W), 0..255; inf where they are equal."""
    error = (image.double() - target.double()).square().mean().item()
    return 10 * math.log10(255**2 / error) if error else math.inf


def ssim(image: Tensor, target: Tensor) -> float:
    """Mean SSIM (Wang et al. 2004) of (C, H, W), 0..255: Gaussian window 11×11, σ 1.5, K 0.01 and 0.03, inside the
    image only; channels averaged.

    Raises:
        ConfigError: an image smaller than the window.
    """
    if min(image.shape[-2:]) < _WINDOW:
        raise ConfigError(
            f'SSIM needs {_WINDOW}×{_WINDOW} pixels, an image has {tuple(image.shape[-2:])} after shaving'
        )
    window = cv2.getGaussianKernel(_WINDOW, _SIGMA)

    def blur(planes: np.ndarray) -> np.ndarray:
        whole = cv2.sepFilter2D(planes, -1, window, window)
        return whole[_WINDOW // 2 : -(_WINDOW // 2), _WINDOW // 2 : -(_WINDOW // 2)]

    x, y = (np.ascontiguousarray(plane.cpu().double().numpy().transpose(1, 2, 0)) for plane in (image, target))
    mean_x, mean_y = blur(x), blur(y)
    var_x, var_y = blur(x * x) - mean_x**2, blur(y * y) - mean_y**2
    covariance = blur(x * y) - mean_x * mean_y
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    structure = (2 * covariance + c2) / (var_x + var_y + c2)
    return float(((2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1) * structure).mean())


def image_metrics(image: Tensor, target: Tensor, border: int) -> dict[str, float]:
    """PSNR_Y, SSIM_Y, PSNR_RGB, SSIM_RGB of an image (3, H, W) uint8 RGB against its target.

    Args:
        border: pixels left out on each side: the ratio, by convention.
    """
    planes = dict(Y=(luma(image), luma(target)), RGB=(image, target))
    metrics = {}
    for name, pair in planes.items():
        inner = [shave(plane, border) for plane in pair]
        metrics[f'PSNR_{name}'], metrics[f'SSIM_{name}'] = psnr(*inner), ssim(*inner)
    return metrics


@METRICS.register_module()
class SRMetric(BaseMetric):
    """`pd/PSNR_Y`, `pd/SSIM_Y`, `pd/PSNR_RGB`, `pd/SSIM_RGB`: means over the images of all sets (dB; 0..1).

    Of several sets each has its own as well: `pd/PSNR_Y_Set5`, …

    As many pixels as the ratio are shaved off each side, by convention; that is HR side / side of the network's input.

    Attributes:
        per_class: set → the same means over its images, and their number, after `compute_metrics`.
    """

    default_prefix = 'pd'
    choices = ('PSNR_Y', 'SSIM_Y', 'PSNR_RGB', 'SSIM_RGB', 'PSNR_Y_*', 'SSIM_Y_*', 'PSNR_RGB_*', 'SSIM_RGB_*')
    """Metrics by which a checkpoint can be chosen; `*` stands for a set."""

    def __init__(self, collect_device: str = 'cpu', prefix: str | None = None) -> None:
        super().__init__(collect_device, prefix)
        self.per_class: dict[str, dict[str, float]] = {}

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        for sample in data_samples:
            if 'gt_img' not in sample:
                raise ConfigError(
                    f'image {sample.get("img_path")} has no HR image to compare with (deploy.py reads LR images): '
                    'measure with bench.py, which makes the LR images itself'
                )
            image, target = sample['pred_img'].flip(0), sample['gt_img'].flip(0)
            border = target.shape[-1] // sample['img_shape'][1]
            self.results.append((sample.get('img_set', ''), image_metrics(image, target, border)))

    def compute_metrics(self, results: list[tuple[str, dict[str, float]]]) -> dict[str, float]:
        sets: dict[str, list[dict[str, float]]] = {}
        for name, metrics in results:
            sets.setdefault(name, []).append(metrics)
        self.per_class = {name: dict(images=float(len(rows)), **_means(rows)) for name, rows in sets.items()}
        overall = _means([metrics for _, metrics in results])
        if len(sets) > 1:
            overall.update(
                {f'{key}_{name}': value for name, rows in sets.items() for key, value in _means(rows).items()}
            )
        return overall


def _means(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    return {key: sum(row[key] for row in rows) / len(rows) for key in rows[0]}
