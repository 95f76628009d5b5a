"""Feature imitation on aligned maps.

Legend: student, guide (B, C, h, w) on one grid; valid (B, 1, h, w) bool, False on padding. The guide gets no gradient.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

MIN_CELLS = 8
"""Valid cells below which mean and deviation of a channel say nothing; such grids are skipped."""

CONSTANT = 1e-6
"""Deviation over mean below which a float32 channel is constant: what varies in it is rounding."""


def pkd_loss(student: Tensor, guide: Tensor, valid: Tensor) -> Tensor:
    """Per-channel normalised MSE / 2, which is 1 - Pearson correlation (PKD, Cao et al. 2022, eq. 4).

    It does not see gain and offset of a channel, at any scale: the deviation is divided by as it is, without an eps.
    A channel that is constant (CONSTANT) has no correlation; it counts as zeros, so it gets no gradient, and costs 1/2
    against one that varies.

    Deviation: mean and deviation of a channel are taken over the valid cells of the batch only, and grids with fewer
    than MIN_CELLS valid cells give zero.

    Returns:
        scalar in [0, 2].
    """
    mask = valid.expand(-1, student.shape[1], -1, -1)
    if int(valid.sum()) < MIN_CELLS:
        return student.sum() * 0
    difference = _standardise(student, mask) - _standardise(guide.detach(), mask)
    return difference.square().sum() / (2 * mask.sum())


def mse_loss(student: Tensor, guide: Tensor, valid: Tensor) -> Tensor:
    """Mean squared difference over the valid cells (FitNets, Romero et al. 2015, eq. 3)."""
    mask = valid.expand_as(student)
    return ((student - guide.detach()).square() * mask).sum() / mask.sum().clamp(min=1)


def cwd_loss(student: Tensor, guide: Tensor, valid: Tensor, temperature: float = 1.0) -> Tensor:
    """KL between the channels' spatial softmax distributions (CWD, Shu et al. 2021, eq. 3), mean over B and C, × T²."""
    hidden = ~valid.expand_as(student).flatten(2)
    log_student = F.log_softmax((student.flatten(2) / temperature).masked_fill(hidden, -1e4), dim=2)
    log_guide = F.log_softmax((guide.detach().flatten(2) / temperature).masked_fill(hidden, -1e4), dim=2)
    kl = (log_guide.exp() * (log_guide - log_student)).sum(dim=2)
    return kl.mean() * temperature**2


def _standardise(feature: Tensor, mask: Tensor) -> Tensor:
    """(B, C, h, w) with zero mean and unit variance per channel over the masked cells; zero elsewhere, and if flat."""
    feature = feature.float()
    count = mask.sum(dim=(0, 2, 3), keepdim=True).clamp(min=1)
    mean = (feature * mask).sum(dim=(0, 2, 3), keepdim=True) / count
    centred = (feature - mean) * mask
    variance = centred.square().sum(dim=(0, 2, 3), keepdim=True) / count
    # The second bound, a deviation of 1e-10, keeps the gradient of a channel that is as good as 0 finite.
    varies = variance > (CONSTANT * mean).square() + 1e-20
    return centred * torch.where(varies, variance, torch.inf).rsqrt()


FEATURE_LOSSES: dict[str, Callable[..., Tensor]] = {'pkd': pkd_loss, 'mse': mse_loss, 'cwd': cwd_loss}
