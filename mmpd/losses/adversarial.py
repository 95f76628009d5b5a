"""The resolution discriminator's loss, and the reversal that turns it against the student."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


class _Reverse(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, factor: Tensor) -> Tensor:  # type: ignore[override]
        ctx.factor = factor
        return x.view_as(x)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[override]
        return -ctx.factor * gradient, None


def reverse_gradient(x: Tensor, factor: Tensor) -> Tensor:
    """x itself; its gradient comes back times −factor (Ganin & Lempitsky 2015, eq. 8)."""
    return _Reverse.apply(x, factor)


def discriminator_loss(logits_hr: Tensor, logits_lr: Tensor) -> Tensor:
    """−(mean log D(f_HR) + mean log(1 − D(f_LR))) / 2 with D = sigmoid(logit): binary cross-entropy, HR is 1.

    The discriminator lowers it, the student raises it: min over the student, max over D of
    E[log D(f_HR)] + E[log(1 − D(f_LR))], halved. Source: Goodfellow et al. 2014, eq. 1.

    Args:
        logits_hr, logits_lr: any shapes, one logit a sample or cell.

    Returns:
        Scalar > 0; log 2 where D cannot tell.
    """
    return (F.softplus(-logits_hr).mean() + F.softplus(logits_lr).mean()) / 2


@torch.no_grad()
def discriminator_accuracy(logits_hr: Tensor, logits_lr: Tensor) -> Tensor:
    """Share that D tells right, each resolution counting half: 0.5 where LR looks like HR (or where D always says one).

    A logit of exactly 0 says neither and counts half.
    """
    hits = [(torch.sign(side) / 2 + 0.5).mean() for side in (logits_hr, -logits_lr)]
    return torch.stack(hits).mean()


def ramp(done: Tensor, whole: int) -> Tensor:
    """2 / (1 + exp(−10 p)) − 1 with p = done / whole up to 1 (Ganin & Lempitsky 2015, section 5.1): 0 → 1."""
    return torch.tanh(5 * (done / whole).clamp(max=1.0))
