"""Input Spatial Representation Distillation: rebuild the HR image from the student's first feature map.

Legend: stem (B, C, h, w) student's first map; image (B, 3, H, W) normalised HR image.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable


def isrd_loss(rebuilt: Tensor, image: Tensor, valid: Tensor | None = None) -> Tensor:
    """Mean L1 to the normalised HR image (Pixel Distillation, eq. 3). Deviation: padding does not count.

    Args:
        rebuilt, image: (B, 3, H, W); valid: (B, 1, H, W) bool, None: no padding.
    """
    if valid is None:
        return F.l1_loss(rebuilt, image)
    mask = valid.expand_as(image)
    return ((rebuilt - image).abs() * mask).sum() / mask.sum().clamp(min=1)


def isrd_loss_of_blocks(blocks: Tensor, slopes: Tensor, image: Tensor, valid: Tensor | None = None) -> Tensor:
    """`isrd_loss(prelu(pixel_shuffle(blocks, s), slopes), image, valid)`, computed where the blocks are.

    The image is cut into blocks once; the formula shuffles, activates and subtracts maps of the size of the image, and
    walks them back.

    Args:
        blocks: (B, 3·s², h, w) before the shuffle. slopes: (3,) of the PReLU. image: (B, 3, s·h, s·w).
    """
    # contiguous: blocks are regrouped, which channels-last ones cannot be without a copy
    return _BlockL1.apply(blocks.float().contiguous(), slopes.float(), image.float().contiguous(), valid)


class _BlockL1(torch.autograd.Function):
    """Mean |prelu(x) - t| over the valid pixels. Its gradient is made on the way, in closed form."""

    @staticmethod
    def forward(ctx: Any, blocks: Tensor, slopes: Tensor, image: Tensor, valid: Tensor | None) -> Tensor:
        scale = image.shape[-1] // blocks.shape[-1]
        by_colour = blocks.unflatten(1, (3, scale**2))
        difference = F.prelu(blocks.view(len(blocks), 3, -1), slopes).view_as(by_colour)
        cut = image.unflatten(3, (-1, scale)).unflatten(2, (-1, scale)).permute(0, 1, 3, 5, 2, 4)
        difference.view(cut.shape).sub_(cut)
        count = image.numel()
        if valid is not None:
            mask = F.pixel_unshuffle(valid.float(), scale)[:, None]
            difference.mul_(mask)
            count = max(3 * int(valid.sum()), 1)
        loss = difference.abs().sum() / count
        if any(ctx.needs_input_grad[:2]):
            sign = difference.sign_()
            to_slopes = by_colour.clamp(max=0).mul_(sign).sum(dim=(0, 2, 3, 4)) / count
            flat = slopes.view(1, 3, 1, 1, 1) / count
            steep = (by_colour > 0).float().mul_(1 / count - flat).add_(flat)  # torch.where takes ten times as long
            ctx.save_for_backward(sign.mul_(steep).view_as(blocks), to_slopes)
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor, Tensor, None, None]:
        to_blocks, to_slopes = ctx.saved_tensors
        return to_blocks * outer, to_slopes * outer, None, None
