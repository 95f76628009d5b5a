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
    """Mean |prelu(x) - t| over the valid pixels. Its gradient is made on the way, in closed form.

    On a CPU image by image: no maps of a step with a small student are larger than these.
    """

    @staticmethod
    def forward(ctx: Any, blocks: Tensor, slopes: Tensor, image: Tensor, valid: Tensor | None) -> Tensor:
        scale = image.shape[-1] // blocks.shape[-1]
        count = image.numel() if valid is None else max(3 * int(valid.sum()), 1)
        to_blocks = torch.empty_like(blocks) if any(ctx.needs_input_grad[:2]) else None
        loss, to_slopes = blocks.new_zeros(()), torch.zeros_like(slopes)
        flat = slopes.view(3, 1, 1, 1) / count
        images = len(blocks) if blocks.is_cuda else 1
        for start in range(0, len(blocks), images):
            part = slice(start, start + images)
            own = blocks[part].unflatten(1, (3, scale**2))  # (b, 3, s², h, w)
            difference = F.prelu(own.flatten(2), slopes).view(own.shape)
            difference.unflatten(2, (scale, scale)).sub_(_cut(image[part], scale))
            if valid is not None:
                difference.mul_(_cut(valid[part].float(), scale).flatten(2, 3))
            loss += difference.abs().sum()
            if to_blocks is not None:
                sign = difference.sign_()
                to_slopes += own.clamp(max=0).mul_(sign).sum(dim=(0, 2, 3, 4))
                steep = (own > 0).float().mul_(1 / count - flat).add_(flat)  # torch.where takes ten times as long
                torch.mul(sign, steep, out=to_blocks[part].view(own.shape))
        if to_blocks is not None:
            ctx.save_for_backward(to_blocks, to_slopes / count)
        return loss / count

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor, Tensor, None, None]:
        to_blocks, to_slopes = ctx.saved_tensors
        return to_blocks * outer, to_slopes * outer, None, None


def _cut(image: Tensor, scale: int) -> Tensor:
    """(B, C, s·h, s·w) as a view (B, C, s, s, h, w): `pixel_unshuffle` without its copy."""
    return image.unflatten(3, (-1, scale)).unflatten(2, (-1, scale)).permute(0, 1, 3, 5, 2, 4)
