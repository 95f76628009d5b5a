"""Deformable RoI pooling of `mmcv._ext` (Dai et al., 2017, eq. 5, on RoIAlign's sampling points).

Shapes: features (N, C, H, W); rois (K, 5) as batch index, x1, y1, x2, y2 in input pixels; offset (K, 2, h, w), the
shift of each bin in x and in y, or empty; pooled (K, C, h, w). A bin moves by gamma * (RoI's side) * offset.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .precision import full_precision, gradients
from .roi import corner_weights, without_broken


def _bins(rois: Tensor, offset: Tensor | None, size: tuple[int, int], scale: float, gamma: float) -> list[Tensor]:
    """Start of each bin, y then x, (K, h, w), and its side, (K,), for both axes, in feature cells."""
    sides = []
    for axis, (near, far) in enumerate(((2, 4), (1, 3))):
        start, length = rois[:, near] * scale - 0.5, (rois[:, far] - rois[:, near]) * scale
        side = length / size[axis]
        steps = torch.arange(size[axis], dtype=rois.dtype, device=rois.device)
        steps = steps[:, None] if axis == 0 else steps[None, :]
        starts = (start[:, None, None] + steps * side[:, None, None]).expand(-1, *size)
        if offset is not None:
            starts = starts + gamma * length[:, None, None] * offset[:, 1 - axis]
        sides += [starts, side]
    return [sides[0], sides[2], sides[1], sides[3]]


def _sample(features: Tensor, images: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """Mean (K, C, h, w) over the points of features at positions y, x (K, h, w, points) of the images (K,)."""
    height, width = features.shape[2:]
    cells = features.permute(0, 2, 3, 1).flatten(0, 2)  # (N * H * W, C)
    first = images.long()[:, None, None, None] * (height * width)
    total: Tensor = cells.new_zeros(())
    for row, column, weight in corner_weights(y, x, height, width):
        total = total + torch.einsum('khwpc,khwp->kchw', cells[first + row * width + column], weight)
    return total / y.shape[3]


def _pool(
    features: Tensor,
    rois: Tensor,
    offset: Tensor | None,
    size: tuple[int, int],
    scale: float,
    sampling_ratio: int,
    gamma: float,
) -> Tensor:
    """(K, C, h, w). RoIs with equally many points a bin are pooled together."""
    rois, broken = without_broken(rois)
    if offset is not None:
        broken = broken | ~offset.isfinite().all(dim=1, keepdim=True)
        offset = offset.nan_to_num(0, 0, 0)
    y, x, side_y, side_x = _bins(rois, offset, size, scale, gamma)
    if sampling_ratio > 0:
        counts = torch.full((len(rois), 2), sampling_ratio, device=rois.device)
    else:
        counts = torch.stack([side_y, side_x], dim=1).ceil().clamp(min=0).long()
    parts = [features.new_zeros(0, features.shape[1], *size) + features.sum() * 0]  # a graph without RoIs too
    order = [torch.zeros(0, dtype=torch.long, device=rois.device)]
    for count in counts.unique(dim=0):
        chosen = (counts == count).all(dim=1).nonzero()[:, 0]
        rows, columns = count.tolist()
        order.append(chosen)
        if not rows * columns:  # a box without area: no point
            parts.append(features.new_zeros(len(chosen), features.shape[1], *size))
            continue
        points_y = (torch.arange(rows, device=rois.device) + 0.5) / rows
        points_x = (torch.arange(columns, device=rois.device) + 0.5) / columns
        at_y = y[chosen][..., None] + points_y.repeat_interleave(columns) * side_y[chosen][:, None, None, None]
        at_x = x[chosen][..., None] + points_x.repeat(rows) * side_x[chosen][:, None, None, None]
        parts.append(_sample(features, rois[chosen, 0], at_y, at_x))
    pooled = torch.cat(parts)[torch.cat(order).argsort()]
    return pooled.masked_fill(broken, math.nan)


def deform_roi_pool_forward(
    input: Tensor,
    rois: Tensor,
    offset: Tensor,
    output: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    gamma: float,
) -> None:
    """Write the mean over each bin's sampling points to output; an offset that is no finite number gives NaN.

    Args:
        sampling_ratio: points per bin side; 0 for ceil(bin side), and then none, and 0, for a box without area.
    """
    input, rois, offset = full_precision(input, rois, offset)
    shift = offset if offset.numel() else None
    size = (pooled_height, pooled_width)
    output.copy_(_pool(input, rois.to(input), shift, size, spatial_scale, sampling_ratio, gamma))


def deform_roi_pool_backward(
    grad_output: Tensor,
    input: Tensor,
    rois: Tensor,
    offset: Tensor,
    grad_input: Tensor,
    grad_offset: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    gamma: float,
) -> None:
    """Write the gradients of the features and, where there are offsets, of those.

    Deviation: within a cell outside the map, where the map is continued by its edge, an offset has no gradient across
    the edge; the compiled operator takes the slope of the first two cells there.
    """
    rois, size = full_precision(rois)[0], (pooled_height, pooled_width)

    def forward(features: Tensor, *shift: Tensor) -> Tensor:
        moved = shift[0] if shift else None
        return _pool(features, rois.to(features), moved, size, spatial_scale, sampling_ratio, gamma)

    found = gradients(forward, [input, offset] if offset.numel() else [input], grad_output)
    grad_input.copy_(found[0])
    if offset.numel():
        grad_offset.copy_(found[1])


OPERATORS: dict[str, Callable[..., Any]] = {
    'deform_roi_pool_forward': deform_roi_pool_forward,
    'deform_roi_pool_backward': deform_roi_pool_backward,
}
