"""A picture of crops: LR (bicubic), student, teacher, HR side by side, where the student gains and loses most."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import matplotlib
import numpy as np
import torch
from matplotlib.figure import Figure
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch import Tensor

from ..data.reduction import REDUCTIONS, reduce_image
from ..errors import ConfigError, DataError
from ..evaluation.measure import network_of
from ..io.state import load_into
from ..run.state import finished_checkpoint
from .metric import luma, psnr
from .model import to_uint8

matplotlib.use('Agg')


FLAT = 10.0
"""Standard deviation of Y (16..235) below which a crop shows nothing."""


@dataclass(frozen=True, eq=False)
class Crop:
    """One row of the gallery.

    Attributes:
        name: 'image left,top'.
        images: (3, H, W) uint8 BGR in the order of the columns, the HR image last.
        psnr: of each but the HR image, on Y, in dB.
    """

    name: str
    images: tuple[Tensor, ...]
    psnr: tuple[float, ...]

    @property
    def image(self) -> str:
        return self.name.rpartition(' ')[0]

    @property
    def gain(self) -> float:
        """Student over bicubic, dB."""
        return self.psnr[1] - self.psnr[0]


@torch.no_grad()
def crops_of(
    files: Iterable[Path], networks: Sequence[Callable[[Tensor], Tensor]], scale: int, operator: str, side: int = 64
) -> list[Crop]:
    """Non-overlapping crops of all images, with the result of bicubic enlargement and of each network.

    Args:
        networks: student, teacher, …: (1, 3, h, w) RGB 0..1 to (1, 3, s·h, s·w).
        operator: reduction of the LR images.
        side: of a crop, HR pixels.

    Raises:
        DataError: an image cannot be read, or none is as large as a crop.
    """
    crops = []
    for file in files:
        image = cv2.imread(str(file))
        if image is None:
            raise DataError(f'image {file} cannot be read')
        height, width = (length // scale * scale for length in image.shape[:2])
        hr = np.ascontiguousarray(image[:height, :width])
        lr = reduce_image(hr, Fraction(scale), operator)
        pixels = torch.from_numpy(lr[:, :, ::-1].copy()).permute(2, 0, 1)[None] / 255
        enlarged = REDUCTIONS.get('bicubic')(lr, (width, height))  # Pillow's, both ways
        results = [_planes(enlarged), *[to_uint8(network(pixels)[0]) for network in networks], _planes(hr)]
        for top in range(0, height - side + 1, side):
            for left in range(0, width - side + 1, side):
                cut = tuple(result[:, top : top + side, left : left + side] for result in results)
                target = luma(cut[-1].flip(0))
                scores = tuple(min(psnr(luma(piece.flip(0)), target), 99.0) for piece in cut[:-1])
                crops.append(Crop(f'{file.stem} {left},{top}', cut, scores))
    if not crops:
        raise DataError(f'no image has {side}×{side} pixels')
    return crops


def worst_and_best(crops: Sequence[Crop], n: int) -> list[Crop]:
    """The n crops where the student gains least over bicubic, then the n where it gains most, of different images each.

    Flat ones are left out: all are perfect there, to a rounding error.
    """
    lively = [crop for crop in crops if luma(crop.images[-1].flip(0)).std() > FLAT] or list(crops)
    ranked = sorted(lively, key=lambda crop: crop.gain)
    worst = _one_of_each_image(ranked)[:n]
    best = _one_of_each_image([crop for crop in reversed(ranked) if crop not in worst])[:n]
    return worst + best[::-1]


def _one_of_each_image(crops: Iterable[Crop]) -> list[Crop]:
    """The first of each image."""
    first: dict[str, Crop] = {}
    for crop in crops:
        first.setdefault(crop.image, crop)
    return list(first.values())


def draw_gallery(crops: Sequence[Crop], columns: Sequence[str], path: str | Path) -> None:
    """Write the picture; `columns` names the images of a crop."""
    figure = Figure(figsize=(1.9 * len(columns), 2.15 * len(crops) + 0.3), dpi=100)
    grid = figure.subplots(len(crops), len(columns), squeeze=False)
    for row, crop in zip(grid, crops, strict=True):
        for index, (axes, image) in enumerate(zip(row, crop.images, strict=True)):
            axes.imshow(image.flip(0).permute(1, 2, 0).numpy(), interpolation='nearest')
            axes.set_axis_off()
            text = columns[index] if index == len(crop.psnr) else f'{columns[index]} {crop.psnr[index]:.1f} dB'
            axes.set_title(text, fontsize=8, pad=3)
        row[0].text(0, -0.02, crop.name, transform=row[0].transAxes, fontsize=6, color='0.4', va='top')
    figure.subplots_adjust(left=0.01, right=0.99, bottom=0.01, top=0.97, wspace=0.04, hspace=0.16)
    figure.savefig(path)


def finished_networks(config: Config, work_dir: Path, stages: Sequence[str]) -> list[Any]:
    """The networks of finished stages, in eval.

    Raises:
        ConfigError: a stage that is not there or not finished.
    """
    networks = []
    for stage in stages:
        network, weights = network_of(config, stage), finished_checkpoint(work_dir / stage)
        if weights is None:
            raise ConfigError(f'stage {stage} is not finished in {work_dir}: train it first')
        with DefaultScope.overwrite_default_scope(network.config.default_scope):
            model = MODELS.build(network.config.model)
        load_into(model, weights)
        networks.append(model.eval())
    return networks


def _planes(image: np.ndarray) -> Tensor:
    """(H, W, 3) uint8 to (3, H, W)."""
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
