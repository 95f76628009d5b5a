"""What resolution costs the guide: its answers on the HR image against those on the LR image enlarged to HR size.

Legend: B = batch, n = locations, C = classes. Nothing here has a gradient.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

FLOOR = 1e-3
"""Nats below which a divergence is no cost: equal answers then weigh 1 each, and not 0 / 0."""


@torch.no_grad()
def class_divergence(logits_hr: Tensor, logits_lr: Tensor) -> Tensor:
    """KL(softmax(HR) ‖ softmax(LR)) of each row, nats: (B, C) twice to (B,)."""
    log_hr, log_lr = (F.log_softmax(_full(logits), dim=1) for logits in (logits_hr, logits_lr))
    return F.kl_div(log_lr, log_hr, reduction='none', log_target=True).sum(1).clamp(min=0)


@torch.no_grad()
def score_divergence(logits_hr: Tensor, logits_lr: Tensor) -> Tensor:
    """Σ over classes of KL(Bernoulli(HR) ‖ Bernoulli(LR)), nats: (B, n, C) twice to (B, n). For sigmoid heads."""
    logits_hr, logits_lr = _full(logits_hr), _full(logits_lr)
    yes = F.logsigmoid(logits_hr) - F.logsigmoid(logits_lr)
    no = F.logsigmoid(-logits_hr) - F.logsigmoid(-logits_lr)
    p = logits_hr.sigmoid()
    return (p * yes + (1 - p) * no).sum(-1).clamp(min=0)


@torch.no_grad()
def resolution_weights(divergence: Tensor, counted: Tensor | None = None) -> Tensor:
    """w = (d + FLOOR) / mean(d + FLOOR): mean 1, all 1 where resolution costs nothing, small where it costs little.

    Args:
        divergence: d ≥ 0, any shape.
        counted: bool, same shape: the mean is theirs, and the others weigh 1. None: all.

    Returns:
        Same shape; the mean over everything is 1.
    """
    cost = divergence + FLOOR
    if counted is None:
        return cost / cost.mean()
    if not bool(counted.any()):
        return torch.ones_like(cost)
    return torch.where(counted, cost / cost[counted].mean(), torch.ones_like(cost))


def _full(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()
