"""Losses of super-resolution distillation: pure functions of images and feature maps."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def logits_l1(student: Tensor, guide: Tensor) -> Tensor:
    """‖S(x) − T(x)‖₁, a mean over all values. Both (B, 3, H, W); no gradient to the guide."""
    return F.l1_loss(student, guide.detach())


def affinity(feature: Tensor, max_side: int) -> Tensor:
    """Spatial affinity of a map: cosine of each pair of positions, over the channels. (B, C, h, w) to (B, n, n).

    Source: FAKD, He et al., ICIP 2020, eq. 2–3: A = F̃ᵀF̃ with F̃ normalised at each position. It compares nets of any
    widths. n = h·w grows with the fourth power of the side, so larger maps are averaged down to `max_side` first
    (ours; the paper keeps every position). In float32, also under autocast: bfloat16 tells no two cosines near 1 apart
    that differ by less than 0.004.
    """
    if max(feature.shape[-2:]) > max_side:
        feature = F.adaptive_avg_pool2d(feature, (min(feature.shape[-2], max_side), min(feature.shape[-1], max_side)))
    with torch.autocast(feature.device.type, enabled=False):
        unit = F.normalize(feature.float().flatten(2), dim=1)
        return unit.transpose(1, 2) @ unit


def feature_affinity_loss(student: Sequence[Tensor], guide: Sequence[Tensor], max_side: int = 24) -> Tensor:
    """Mean over maps of ‖A(S) − A(T)‖₁ / |A| (FAKD eq. 4). Maps (B, ·, h, w), pairwise of one size, any widths."""
    losses = [
        F.l1_loss(affinity(own, max_side), affinity(other.detach(), max_side))
        for own, other in zip(student, guide, strict=True)
    ]
    return sum(losses[1:], losses[0]) / len(losses)
