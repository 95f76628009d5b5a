"""The pair-wise constraint: similarities among the student's features are those among the guide's.

Legend: x (n, c) student, y (n, C) guide, row i of both from the same place; widths may differ.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def pairwise_loss(x: Tensor, y: Tensor) -> Tensor:
    """Σ_{i≠j} (cos(x_i, x_j) − cos(y_i, y_j))² / n(n − 1); the diagonal is 1 in both and left out.

    Ours, in the form of relational distillation (Park et al. 2019; Tung & Mori 2019). Rotating or scaling all rows of
    one network changes no cosine, so it asks for no common basis and no common width. The guide gets no gradient.

    Returns:
        Scalar in [0, 4], in float32 (float64 stays); 0 for n < 2.
    """
    if len(x) < 2:
        return x.sum() * 0
    difference = cosines(x) - cosines(y.detach())
    # A row that is all zero has no direction and not even a diagonal of 1: fill, rather than trust, the diagonal.
    difference = difference - difference.diag().diag()
    return difference.square().sum() / (len(x) * (len(x) - 1))


def cosines(rows: Tensor) -> Tensor:
    """(n, C) to (n, n)."""
    unit = F.normalize(rows if rows.dtype == torch.float64 else rows.float(), dim=1)
    return unit @ unit.T
