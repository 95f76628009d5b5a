"""Upscale an image of any size in bounded memory: overlapping tiles whose borders are thrown away."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from ..errors import ConfigError


def upscale(network: Callable[[Tensor], Tensor], image: Tensor, scale: int, tile: int = 0, overlap: int = 32) -> Tensor:
    """network(image), tile by tile.

    Without a seam where `overlap` reaches as far as the network's receptive field does (each 3×3 convolution: 1 LR
    pixel; a network of unbounded field, by attention over channels or shifted windows, has small differences).

    Args:
        network: (1, 3, h, w) to (1, 3, s·h, s·w).
        image: (1, 3, h, w).
        tile: side of what a tile contributes, LR pixels; 0: the whole image at once.
        overlap: LR pixels around it that the network sees too.

    Raises:
        ConfigError: a negative size.
    """
    if tile < 0 or overlap < 0:
        raise ConfigError(f'tile = {tile}, overlap = {overlap}: give numbers of LR pixels, 0 or more')
    height, width = image.shape[-2:]
    if not tile or tile >= max(height, width):
        return network(image)
    result = image.new_zeros(1, 3, height * scale, width * scale, dtype=torch.float32)
    for top, bottom, outer_top, outer_bottom in _spans(height, tile, overlap):
        for left, right, outer_left, outer_right in _spans(width, tile, overlap):
            output = network(image[..., outer_top:outer_bottom, outer_left:outer_right])
            rows = slice((top - outer_top) * scale, (bottom - outer_top) * scale)
            columns = slice((left - outer_left) * scale, (right - outer_left) * scale)
            result[..., top * scale : bottom * scale, left * scale : right * scale] = output[..., rows, columns]
    return result


def _spans(side: int, tile: int, overlap: int) -> Iterator[tuple[int, int, int, int]]:
    """(start, end, start with overlap, end with overlap) of the tiles along one side."""
    for start in range(0, side, tile):
        end = min(start + tile, side)
        yield start, end, max(start - overlap, 0), min(end + overlap, side)
