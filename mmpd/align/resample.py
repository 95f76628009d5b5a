"""From the guide's grid to the student's where the two do not coincide (DESIGN §3.2, resample).

Legend: h, w = student grid; H, W = guide grid of the same image; B = batch, C = channels. Both grids are measured in
HR pixels; a cell's centre is (index + offset) · stride, with the offset of the network, see `NetworkView.centre`.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor


@lru_cache(maxsize=256)
def window_weights(
    n_student: int, n_guide: int, stride_student: float, stride_guide: float, offset_student: float, offset_guide: float
) -> Tensor:
    """Share of each guide cell in each student cell along one axis, rows sum to 1.

    A student cell covers one student stride around its centre (HR pixels), a guide cell one guide stride around its
    own. The window is centred: plain r×r blocks would shift by (r - 1)/2 guide cells. A student cell that is finer
    than the guide's falls into its nearest guide cell.

    Returns:
        (n_student, n_guide) float32, ≥ 0.
    """
    centres_student = (torch.arange(n_student, dtype=torch.float64) + offset_student) * stride_student
    centres_guide = (torch.arange(n_guide, dtype=torch.float64) + offset_guide) * stride_guide
    width = max(stride_student, 1e-9)
    low = torch.maximum(centres_student[:, None] - width / 2, centres_guide[None] - stride_guide / 2)
    high = torch.minimum(centres_student[:, None] + width / 2, centres_guide[None] + stride_guide / 2)
    overlap = (high - low).clamp(min=0)
    nearest = (centres_student[:, None] - centres_guide[None]).abs().argmin(dim=1)
    lonely = overlap.sum(dim=1) < 1e-6 * width  # student cells beyond the guide's grid
    overlap[lonely] = torch.nn.functional.one_hot(nearest[lonely], n_guide).to(overlap)
    return (overlap / overlap.sum(dim=1, keepdim=True)).float()


def resample_features(features: Tensor, weights_y: Tensor, weights_x: Tensor) -> Tensor:
    """Average guide features over the window of each student cell.

    Args:
        features: (B, C, H, W).
        weights_y: (h, H); weights_x: (w, W), from `window_weights`.

    Returns:
        (B, C, h, w).
    """
    weights_y, weights_x = weights_y.to(features), weights_x.to(features)
    return torch.einsum('yh,bchw,xw->bcyx', weights_y, features, weights_x)
