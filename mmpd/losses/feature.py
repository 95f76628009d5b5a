"""Feature imitation on aligned maps.

Legend: student, guide (B, C, h, w) on one grid; valid (B, 1, h, w) bool, False on padding,
None: no padding. The guide gets no gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

MIN_CELLS = 8
"""Valid cells below which mean and deviation of a channel say nothing; such grids are skipped."""

CONSTANT = 1e-6
"""Deviation over mean below which a float32 channel is constant: what varies in it is rounding."""


def pkd_loss(student: Tensor, guide: Tensor, valid: Tensor | None = None) -> Tensor:
    """Per-channel normalised MSE / 2, which is 1 - Pearson correlation (PKD, Cao et al. 2022, eq. 4).

    It does not see gain and offset of a channel, at any scale: the deviation is divided by as it is, without an eps.
    A channel that is constant (CONSTANT) has no correlation; it counts as zeros, so it gets no gradient, and costs 1/2
    against one that varies.

    Deviation: mean and deviation of a channel are taken over the valid cells of the batch only, and grids with fewer
    than MIN_CELLS valid cells give zero.

    Returns:
        scalar in [0, 2].
    """
    cells = student[:, 0].numel() if valid is None else int(valid.sum())
    if cells < MIN_CELLS:
        return student.sum() * 0
    return _Pearson.apply(student.float(), guide.detach().float(), valid, cells)


class _Pearson(torch.autograd.Function):
    """Mean over channels of (s - g)² / 2 of the standardised maps s, g. Its gradient is made on the way, in closed
    form: autograd would keep six maps and walk them twice."""

    @staticmethod
    def forward(ctx: Any, student: Tensor, guide: Tensor, valid: Tensor | None, cells: int) -> Tensor:
        own, scale = _standardise(student, valid, cells)
        difference = own - _standardise(guide, valid, cells)[0]
        loss = _channel_sums(difference, difference).sum() / (2 * cells * student.shape[1])
        if ctx.needs_input_grad[0]:
            # through mean and deviation: what lies along s itself changes nothing
            along = _channel_sums(difference, own) / cells
            gradient = torch.addcmul(difference, own, along, value=-1)
            ctx.save_for_backward(gradient.mul_(scale / (cells * student.shape[1])))
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor, None, None, None]:
        return ctx.saved_tensors[0] * outer, None, None, None


def mse_loss(student: Tensor, guide: Tensor, valid: Tensor | None = None) -> Tensor:
    """Mean squared difference over the valid cells (FitNets, Romero et al. 2015, eq. 3)."""
    if valid is None:
        return F.mse_loss(student, guide.detach())
    mask = valid.expand_as(student)
    return ((student - guide.detach()).square() * mask).sum() / mask.sum().clamp(min=1)


def _standardise(feature: Tensor, valid: Tensor | None, cells: int) -> tuple[Tensor, Tensor]:
    """(B, C, h, w) with zero mean and unit variance per channel over the valid cells; zero elsewhere, and if flat.

    Returns:
        the map, and 1 / deviation (1, C, 1, 1), 0 where flat.
    """
    shown = feature if valid is None else feature * valid
    mean = shown.sum(dim=(0, 2, 3), keepdim=True) / cells
    centred = feature - mean
    if valid is not None:
        centred.mul_(valid)
    variance = _channel_sums(centred, centred) / cells
    # The second bound, a deviation of 1e-10, keeps the gradient of a channel that is as good as 0 finite.
    varies = variance > (CONSTANT * mean).square() + 1e-20
    scale = torch.where(varies, variance, torch.inf).rsqrt()
    return centred.mul_(scale), scale


def _channel_sums(a: Tensor, b: Tensor) -> Tensor:
    """(1, C, 1, 1) sums of the product over batch and cells."""
    return (a * b).sum(dim=(0, 2, 3), keepdim=True)


FEATURE_LOSSES: dict[str, Callable[..., Tensor]] = {'pkd': pkd_loss, 'mse': mse_loss}
