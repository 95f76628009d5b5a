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


def isrd_loss_of_stem(
    stem: Tensor, weight: Tensor, slopes: Tensor, image: Tensor, valid: Tensor | None = None
) -> Tensor:
    """`isrd_loss(prelu(pixel_shuffle(conv(stem), s), slopes), image, valid)`, computed before the shuffle.

    The image is cut into blocks once; the formula shuffles, activates and subtracts maps of the size of the image,
    keeps them, and walks them back. Everything in float32 (float64 stays float64), also under autocast.

    Args:
        stem: (B, C, h, w). weight: (3·s², C, 1, 1) of the 1×1 convolution. slopes: (3,) of the PReLU.
        image: (B, 3, s·h, s·w).
    """
    kind = torch.float64 if stem.dtype == torch.float64 else torch.float32
    with torch.autocast(stem.device.type, enabled=False):
        inputs = (tensor.to(kind) for tensor in (stem, weight.flatten(1), slopes, image))
        return _RebuiltL1.apply(*inputs, valid)


class _RebuiltL1(torch.autograd.Function):
    """Mean |prelu(weight @ stem) - t| over the valid pixels. Its gradient is made on the way, in closed form.

    On a CPU image by image: no maps of a step with a small student are larger than these, so four buffers serve all,
    and none is kept for the backward pass. Columns are cells, rows the 3·s² pixels of a cell's block.
    """

    @staticmethod
    def forward(ctx: Any, stem: Tensor, weight: Tensor, slopes: Tensor, image: Tensor, valid: Tensor | None) -> Tensor:
        scale = image.shape[-1] // stem.shape[-1]
        count = image.numel() if valid is None else max(3 * int(valid.sum()), 1)
        images = len(stem) if stem.is_cuda else 1
        loss, slope = stem.new_zeros(()), slopes[:, None, None]
        to_stem, to_weight, to_slopes = (torch.zeros_like(tensor) for tensor in (stem, weight, slopes))
        buffers: Tensor | None = None
        for start in range(0, len(stem), images):
            part = slice(start, start + images)
            cells = stem[part].transpose(0, 1).flatten(1)
            if buffers is None or buffers.shape[-1] != cells.shape[1]:
                buffers = stem.new_empty(4, 3, scale**2, cells.shape[1])
            below, above, gap, sign = buffers
            torch.mm(weight, cells, out=below.flatten(0, 1))
            torch.clamp(below, min=0, out=above)
            below.sub_(above)
            torch.addcmul(above, below, slope, out=gap)
            gap.view(3, scale, scale, -1, *stem.shape[2:]).sub_(_cut(image[part], scale))
            if valid is not None:
                gap.view(3, scale, scale, -1, *stem.shape[2:]).mul_(_cut(valid[part], scale))
            torch.sign(gap, out=sign)
            loss += gap.abs_().sum()
            to_slopes += torch.mul(sign, below, out=gap).sum(dim=(1, 2))
            # sign · (1 above 0, else slope); torch.where takes ten times as long
            to_blocks = torch.mul(sign, slope, out=gap).addcmul_(above.sign_().mul_(sign), 1 - slope).flatten(0, 1)
            to_stem[part] = (weight.t() @ to_blocks).view(stem.shape[1], -1, *stem.shape[2:]).transpose(0, 1)
            to_weight.addmm_(to_blocks, cells.t())
        ctx.save_for_backward(*(gradient.div_(count) for gradient in (to_stem, to_weight, to_slopes)))
        return loss / count

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        to_stem, to_weight, to_slopes = (gradient * outer for gradient in ctx.saved_tensors)
        return to_stem, to_weight, to_slopes, None, None


def _cut(image: Tensor, scale: int) -> Tensor:
    """(b, C, s·h, s·w) as a view (C, s, s, b, h, w)."""
    return image.unflatten(3, (-1, scale)).unflatten(2, (-1, scale)).permute(1, 3, 5, 0, 2, 4)
