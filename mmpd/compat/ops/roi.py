"""Region pooling operators of `mmcv._ext`.

Shapes: features (N, C, H, W); rois (K, 5) as batch index, x1, y1, x2, y2 in input pixels; pooled (K, C, h, w).
`spatial_scale` = 1 / stride of the features.

A RoI with a side that is no finite number is pooled to NaN (ours: as an array index it would end the process on CPU, or
be pooled to zeros and hide that the run has diverged).
"""

import math
from collections.abc import Callable
from typing import Any

import torch
import torchvision
from torch import Tensor

from .precision import full_precision

_MAX = 0  # mmcv's code for pool_mode='max'; 1 is 'avg'


def without_broken(rois: Tensor) -> tuple[Tensor, Tensor]:
    """rois (K, 5) with zeros for each that holds a NaN or inf, and which those are, (K, 1, 1, 1) bool."""
    broken = ~rois.isfinite().all(dim=1, keepdim=True)
    return rois.masked_fill(broken, 0), broken[:, :, None, None]


def roi_align_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """RoIAlign (He et al., 2017), averaged or maximal over the sampling points of a bin.

    Args:
        output: (K, C, h, w), written.
        argmax_y, argmax_x: (K, C, h, w), written where pool_mode is max: the position that won, in feature cells.
        sampling_ratio: points per bin side; 0 for ceil(bin side).
        aligned: half-pixel shift, and no minimal size of 1 cell.
    """
    features, rois = full_precision(input, rois)
    rois, broken = without_broken(rois)
    size = (aligned_height, aligned_width)
    if pool_mode != _MAX:
        pooled = torchvision.ops.roi_align(features, rois, size, spatial_scale, sampling_ratio, aligned)
        output.copy_(pooled.masked_fill(broken, math.nan))
        return
    for k, roi in enumerate(rois.tolist()):
        y, x = _sampling_points(roi[1:], size, spatial_scale, sampling_ratio, aligned, features)
        values = _bilinear(features[int(roi[0])], y, x)  # (C, h, w, points)
        output[k], winner = values.max(dim=-1)
        argmax_y[k] = y.expand_as(values).gather(-1, winner[..., None]).squeeze(-1)
        argmax_x[k] = x.expand_as(values).gather(-1, winner[..., None]).squeeze(-1)
    output.masked_fill_(broken, math.nan)


def roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Add the gradient of the features to grad_input (N, C, H, W).

    Both modes are linear in the features once the winning positions are known: the gradient at zero is the gradient.
    """
    grad_output, rois, argmax_y, argmax_x = full_precision(grad_output, rois, argmax_y, argmax_x)
    rois, _ = without_broken(rois)
    features = torch.zeros_like(grad_input, dtype=grad_output.dtype, requires_grad=True)
    with torch.enable_grad():
        if pool_mode == _MAX:
            chosen = features[rois[:, 0].long()]  # (K, C, H, W)
            pooled = _bilinear_per_channel(chosen, argmax_y, argmax_x)
        else:
            size = (aligned_height, aligned_width)
            pooled = torchvision.ops.roi_align(
                features, rois.to(features), size, spatial_scale, sampling_ratio, aligned
            )
    grad_input += torch.autograd.grad(pooled, features, grad_output)[0].to(grad_input)


def _sampling_points(
    box: list[float],
    size: tuple[int, int],
    spatial_scale: float,
    sampling_ratio: int,
    aligned: bool,
    like: Tensor,
) -> tuple[Tensor, Tensor]:
    """Positions y and x, each (h, w, points), in feature cells, of the sampling points of one box's bins."""
    shift = 0.5 if aligned else 0.0
    x1, y1, x2, y2 = (side * spatial_scale - shift for side in box)
    axes = []
    for start, end, bins in ((y1, y2, size[0]), (x1, x2, size[1])):
        length = end - start if aligned else max(end - start, 1.0)
        per_bin = sampling_ratio if sampling_ratio > 0 else max(math.ceil(length / bins), 1)
        fractions = (torch.arange(bins * per_bin, dtype=like.dtype, device=like.device) + 0.5) / per_bin
        axes.append((start + fractions * (length / bins)).reshape(bins, per_bin))
    y, x = axes
    shape = (size[0], size[1], y.shape[1], x.shape[1])
    return y[:, None, :, None].expand(shape).flatten(2), x[None, :, None, :].expand(shape).flatten(2)


def corner_weights(y: Tensor, x: Tensor, height: int, width: int) -> list[tuple[Tensor, Tensor, Tensor]]:
    """The four cells around each position as (row, column, weight); weight 0 further than one cell outside the map."""
    inside = ((y >= -1) & (y <= height) & (x >= -1) & (x <= width)).to(y)
    y, x = y.clamp(0, height - 1), x.clamp(0, width - 1)
    top, left = y.floor().long(), x.floor().long()
    bottom, right = (top + 1).clamp(max=height - 1), (left + 1).clamp(max=width - 1)
    dy, dx = y - top, x - left
    return [
        (top, left, (1 - dy) * (1 - dx) * inside),
        (top, right, (1 - dy) * dx * inside),
        (bottom, left, dy * (1 - dx) * inside),
        (bottom, right, dy * dx * inside),
    ]


def _bilinear(features: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """Values (C, *positions) of features (C, H, W) at the same positions in every channel."""
    corners = corner_weights(y, x, features.shape[1], features.shape[2])
    return torch.stack([features[:, row, column] * weight for row, column, weight in corners]).sum(dim=0)


def _bilinear_per_channel(features: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """Values (K, C, h, w) of features (K, C, H, W) at positions (K, C, h, w), one set for each channel."""
    width = features.shape[3]
    total = torch.zeros_like(y)
    for row, column, weight in corner_weights(y, x, features.shape[2], width):
        cell = (row * width + column).flatten(2)
        total = total + features.flatten(2).gather(2, cell).reshape(y.shape) * weight
    return total


def roi_pool_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
) -> None:
    """RoIPool (Girshick, 2015): the maximum over the cells that a bin touches.

    Not torchvision's: that one rounds the box to whole cells first, mmcv bins the exact box (x1 … x2 + 1, scaled).

    Args:
        output: (K, C, h, w), written; 0 for empty bins.
        argmax: (K, C, h, w) int32, written: row * W + column of the maximum, -1 for empty bins.
    """
    height, width = input.shape[2:]
    rois, broken = without_broken(rois)
    output.zero_()
    argmax.fill_(-1)
    for k, (index, x1, y1, x2, y2) in enumerate(rois.tolist()):
        rows = _bin_edges(y1 * spatial_scale, (y2 + 1) * spatial_scale, pooled_height, height)
        columns = _bin_edges(x1 * spatial_scale, (x2 + 1) * spatial_scale, pooled_width, width)
        for i, (top, bottom) in enumerate(rows):
            for j, (left, right) in enumerate(columns):
                if bottom <= top or right <= left:
                    continue
                cells = input[int(index), :, top:bottom, left:right]
                output[k, :, i, j], winner = cells.flatten(1).max(dim=1)
                row, column = winner // (right - left), winner % (right - left)
                argmax[k, :, i, j] = ((top + row) * width + left + column).int()
    output.masked_fill_(broken, math.nan)


def _bin_edges(start: float, end: float, bins: int, limit: int) -> list[tuple[int, int]]:
    """First and past-the-last cell of each bin along one axis, clipped to 0 … limit; empty where end <= start."""
    if end <= start:
        return [(0, 0)] * bins
    step = (end - start) / bins
    edges = [(math.floor(start + i * step), math.ceil(start + (i + 1) * step)) for i in range(bins)]
    return [(min(max(first, 0), limit), min(max(last, 0), limit)) for first, last in edges]


def roi_pool_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax: Tensor,
    grad_input: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
) -> None:
    """Add the gradient of the features to grad_input (N, C, H, W): each bin's goes to its maximum."""
    rois, _ = without_broken(rois)
    channels, cells = grad_input.shape[1], grad_input.shape[2] * grad_input.shape[3]
    image_channel = rois[:, 0].long()[:, None] * channels + torch.arange(channels, device=rois.device)
    index = image_channel[:, :, None, None] * cells + argmax.long()
    filled = argmax >= 0
    flat = torch.zeros(grad_input.numel(), dtype=grad_output.dtype, device=grad_output.device)
    flat.index_add_(0, index[filled], grad_output[filled])
    grad_input += flat.reshape(grad_input.shape).to(grad_input)


OPERATORS: dict[str, Callable[..., Any]] = {
    'roi_align_forward': roi_align_forward,
    'roi_align_backward': roi_align_backward,
    'roi_pool_forward': roi_pool_forward,
    'roi_pool_backward': roi_pool_backward,
}
