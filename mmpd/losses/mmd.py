"""Maximum mean discrepancy between the student's features and the guide's.

Legend: x (n, C) student, y (n, C) guide, row i of both from the same place. The guide gets no gradient.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

FACTORS = (0.25, 0.5, 1.0, 2.0, 4.0)
"""Bandwidths in units of the median distance."""


def mmd2(x: Tensor, y: Tensor, bandwidths: Tensor | None = None) -> Tensor:
    """Squared MMD, unbiased: the mean over i ≠ j of k(x_i, x_j) + k(y_i, y_j) − k(x_i, y_j) − k(x_j, y_i).

    k(a, b) = Σ_s exp(−‖a − b‖² / 2s²) over the bandwidths s. Source: Gretton et al. 2012 (JMLR), eq. 4. It leaves out
    k(x_i, y_i), so it stays unbiased where row i of both comes from one image, and is exactly 0 where x = y.
    Unbiased means that it falls below 0 by chance; clamped at 0 it would be neither unbiased nor have a gradient there.

    Args:
        x, y: (n, C), n ≥ 2; computed in float32 (float64 stays).
        bandwidths: (k,), in the features' units; None: `median_bandwidths`.

    Returns:
        Scalar in [−k, 2k]; 0 for n < 2.
    """
    x, y = _full(x), _full(y).detach()
    if len(x) < 2:
        return x.sum() * 0
    if bandwidths is None:
        bandwidths = median_bandwidths(x, y)
    scales = -0.5 / bandwidths.to(x).square()
    kernels = [
        torch.stack([torch.exp(scale * distances) for scale in scales]).sum(0)
        for distances in (_squared(x, x), _squared(y, y), _squared(x, y))
    ]
    xx, yy, xy = kernels
    pairs = len(x) * (len(x) - 1)
    off = ~torch.eye(len(x), dtype=torch.bool, device=x.device)
    return ((xx + yy - 2 * xy) * off).sum() / pairs


@torch.no_grad()
def median_bandwidths(x: Tensor, y: Tensor, factors: Sequence[float] = FACTORS) -> Tensor:
    """The median distance between two different rows of x and y together, times each factor: (k,), no gradient."""
    rows = torch.cat([_full(x), _full(y)])
    upper = torch.triu_indices(len(rows), len(rows), 1, device=rows.device)
    distances = _squared(rows, rows)[upper[0], upper[1]].sqrt()
    return distances.median().clamp(min=1e-6) * rows.new_tensor(factors)


def _squared(a: Tensor, b: Tensor) -> Tensor:
    """(n, m) squared distances by the binomial formula: `cdist` has no gradient where two rows are equal."""
    squares = a.square().sum(1)[:, None] + b.square().sum(1)[None] - 2 * a @ b.T
    return squares.clamp(min=0)


def _full(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()
