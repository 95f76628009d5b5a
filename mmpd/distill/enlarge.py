"""LR images at HR size, as the guide wants its input."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


@torch.no_grad()
def enlarged(images_lr: Tensor, size: tuple[int, int], valid: Tensor, student: Any, guide: Any) -> Tensor:
    """Bilinear enlargement of the student's normalised images, normalised anew where the guide's statistics differ.

    Args:
        images_lr: (B, 3, h, w). size: (H, W). valid: (B, 1, h, w) bool, False on padding, which stays 0.
        student, guide: networks, whose `data_preprocessor` says mean, std and channel order.

    Returns:
        (B, 3, H, W); the same values where (H, W) = (h, w) and both normalise alike.
    """
    ours, theirs = normalisation(student.data_preprocessor), normalisation(guide.data_preprocessor)
    if not all(torch.equal(a, b.to(a)) for a, b in zip(ours, theirs, strict=True)):
        pixels = images_lr * ours[1].to(images_lr) + ours[0].to(images_lr)
        if bool(ours[2]) != bool(theirs[2]):
            pixels = pixels.flip(1)
        images_lr = (pixels - theirs[0].to(images_lr)) / theirs[1].to(images_lr) * valid
    if tuple(images_lr.shape[-2:]) == tuple(size):
        return images_lr
    return F.interpolate(images_lr, size, mode='bilinear', align_corners=False)


def normalisation(preprocessor: Any) -> tuple[Tensor, Tensor, Tensor]:
    """(mean (3, 1, 1), std (3, 1, 1), whether the channel order is swapped (1,)) of mmdet's or mmpretrain's."""
    swapped = getattr(preprocessor, '_channel_conversion', getattr(preprocessor, 'to_rgb', False))
    flag = torch.tensor([float(swapped)])
    if not getattr(preprocessor, '_enable_normalize', False):
        return torch.zeros(3, 1, 1), torch.ones(3, 1, 1), flag
    return preprocessor.mean.view(3, 1, 1), preprocessor.std.view(3, 1, 1), flag
