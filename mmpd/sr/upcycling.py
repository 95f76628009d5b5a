"""Upcycled data and label consistency: pure functions of image tensors (DUKD, Zhang et al., arXiv 2309.14162 §3).

The teacher labels new inputs made from the training patches themselves, so nothing new needs a ground truth.
Images are (B, 3, h, w), RGB 0..1. h, w = LR patch; s = scale; HR patch (B, 3, s·h, s·w).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import ConfigError


def zoom_in_tiles(images_hr: Tensor, scale: int) -> Tensor:
    """The HR patch as s² tiles of the LR patch's size: (B, 3, s·h, s·w) to (B, s², 3, h, w), row by row.

    Raises:
        ConfigError: s does not divide the sides.
    """
    height, width = images_hr.shape[-2:]
    if height % scale or width % scale:
        raise ConfigError(f'HR patch {height}×{width} cannot be cut into {scale}×{scale} tiles: see data.hr_scale')
    h, w = height // scale, width // scale
    tiles = images_hr.unflatten(-2, (scale, h)).unflatten(-1, (scale, w))  # B, 3, row, h, column, w
    return tiles.permute(0, 2, 4, 1, 3, 5).flatten(1, 2)


def random_tiles(images_hr: Tensor, scale: int, n: int) -> Tensor:
    """n different tiles of each HR patch: (B·n, 3, h, w), the tiles of an image together.

    Drawn with torch's CPU generator, which the run seeds.

    Raises:
        ConfigError: n is not in 1..s².
    """
    tiles = zoom_in_tiles(images_hr, scale)
    if not 1 <= n <= tiles.shape[1]:
        raise ConfigError(f'terms.zoom_in.tiles = {n!r}: an HR patch at ratio {scale} has 1 to {scale**2} tiles')
    picks = torch.stack([torch.randperm(scale**2)[:n] for _ in range(len(tiles))]).to(tiles.device)
    return tiles[torch.arange(len(tiles), device=tiles.device)[:, None], picks].flatten(0, 1)


def zoom_out(images_lr: Tensor, scale: int) -> Tensor:
    """The LR patch reduced once more, as `reduction = 'bicubic'` makes LR images: antialiased, a = −0.5, 8-bit levels.

    (B, 3, h, w) to (B, 3, h/s, w/s). No gradient flows.

    Raises:
        ConfigError: s does not divide the sides.
    """
    height, width = images_lr.shape[-2:]
    if height % scale or width % scale:
        raise ConfigError(f'LR patch {height}×{width} cannot be reduced by {scale}: see data.hr_scale')
    size = (height // scale, width // scale)
    reduced = F.interpolate(images_lr.detach(), size=size, mode='bicubic', align_corners=False, antialias=True)
    return (reduced.clamp(0, 1) * 255).round() / 255


AUGMENTATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    'invert': lambda images: 1 - images,
    'hflip': lambda images: images.flip(-1),
    'vflip': lambda images: images.flip(-2),
    'transpose': lambda images: images.transpose(-1, -2),
}
"""Invertible augmentations of a batch of images (…, h, w), 0..1. Each is its own inverse; a sequence of them is not:
transpose and one flip do not commute, so the inverse goes in reverse order."""


def draw_augmentations(probability: float) -> tuple[str, ...]:
    """Each augmentation with this probability, in the order of `AUGMENTATIONS`; torch's CPU generator."""
    drawn = torch.rand(len(AUGMENTATIONS)) < probability
    return tuple(name for name, chosen in zip(AUGMENTATIONS, drawn.tolist(), strict=True) if chosen)


def augment(images: Tensor, names: Sequence[str]) -> Tensor:
    """f(x): the named augmentations, first to last."""
    for name in names:
        images = AUGMENTATIONS[name](images)
    return images


def undo(images: Tensor, names: Sequence[str]) -> Tensor:
    """f⁻¹(y): undoes `augment(·, names)`, at any scale of the images: last to first."""
    return augment(images, tuple(reversed(names)))
