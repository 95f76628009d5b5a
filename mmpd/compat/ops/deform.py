"""Deformable operators of `mmcv._ext`.

Shapes: input (N, C, H, W); weight (O, C / groups, kh, kw); offset (N, 2 * deform_groups * kh * kw, h, w) as y, x pairs
for each kernel cell, in input cells; mask (N, deform_groups * kh * kw, h, w); output (N, O, h, w).
Backward passes run the forward again under autograd: the extension's interface carries no graph between the two.

A sample at or beyond -1 or H (W) is outside: it contributes nothing and its offset gets no gradient. Offsets that are
no finite number make their output cell NaN (ours; the compiled operator counts them as outside, and the network trains
on): a run that has diverged is to be stopped by its loss.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
import torchvision
from torch import Tensor

from .precision import full_precision, gradients

_FAR = 1e6  # cells; further than any feature map is wide, and still a whole number in float32


def _deform_conv(
    input: Tensor,
    offset: Tensor,
    weight: Tensor,
    mask: Tensor | None,
    bias: Tensor | None,
    *,
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    group: int,
    deform_groups: int,
) -> Tensor:
    """torchvision's operator, which reads both group counts from the shapes; ValueError if they disagree."""
    kernel_cells = weight.shape[2] * weight.shape[3]
    if offset.shape[1] != 2 * deform_groups * kernel_cells or input.shape[1] != group * weight.shape[1]:
        raise ValueError(
            f'deformable convolution: input {tuple(input.shape)}, weight {tuple(weight.shape)} and offset '
            f'{tuple(offset.shape)} do not fit groups={group}, deform_groups={deform_groups}'
        )
    kernel, size = (weight.shape[2], weight.shape[3]), (input.shape[2], input.shape[3])
    within = _offsets_within(offset, kernel, size, stride, padding, dilation)
    result = torchvision.ops.deform_conv2d(input, within, weight, bias, stride, padding, dilation, mask)
    return result.masked_fill(~offset.isfinite().all(dim=1, keepdim=True), math.nan)


def _offsets_within(
    offset: Tensor,
    kernel: tuple[int, int],
    size: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
) -> Tensor:
    """offset with the samples that are outside a map of `size`, NaN and inf among them, moved far away.

    torchvision gives 0 for all that is outside, as mmcv does, but looks there in two other ways. At exactly -1 it takes
    the slope of the first row (column) for the gradient: a layer with zero offsets and padding is there in its first
    step. And it takes a NaN for an array index, which ends the process on CPU. What is moved has no gradient.
    """
    grid = (offset.shape[2], offset.shape[3])
    positions = offset.unflatten(1, (-1, kernel[0], kernel[1], 2)).movedim(4, 0)  # (2, N, groups, kh, kw, h, w)
    inside = []
    for axis in (0, 1):
        cells = torch.arange(grid[axis], device=offset.device) * stride[axis] - padding[axis]
        taps = torch.arange(kernel[axis], device=offset.device) * dilation[axis]
        start = taps[:, None] + cells  # (kernel side, grid side), whole cells: one rounding when the offset is added
        start = start[:, None, :, None] if axis == 0 else start[None, :, None, :]
        position = positions[axis] + start
        inside.append((position > -1) & (position < size[axis]))
    keep = torch.stack(inside, dim=4).flatten(1, 4)
    return torch.where(keep, offset, offset.new_full((), _FAR))


def _geometry(kw: dict[str, int]) -> dict[str, Any]:
    """Keywords of `_deform_conv` from those of mmcv's first version of the operator (dH, padH, …)."""
    return {
        'stride': (kw['dH'], kw['dW']),
        'padding': (kw['padH'], kw['padW']),
        'dilation': (kw['dilationH'], kw['dilationW']),
        'group': kw['group'],
        'deform_groups': kw['deformable_group'],
    }


def deform_conv_forward(
    input: Tensor, weight: Tensor, offset: Tensor, output: Tensor, columns: Tensor, ones: Tensor, **kw: int
) -> None:
    """Deformable convolution (Dai et al., 2017) to output; columns and ones, scratch space, stay unused."""
    input, offset, weight = full_precision(input, offset, weight)
    output.copy_(_deform_conv(input, offset, weight, None, None, **_geometry(kw)))


def deform_conv_backward_input(
    input: Tensor,
    offset: Tensor,
    grad_output: Tensor,
    grad_input: Tensor,
    grad_offset: Tensor,
    weight: Tensor,
    columns: Tensor,
    **kw: int,
) -> None:
    """Write the gradients of input and offset."""
    (full_weight,) = full_precision(weight)

    def forward(x: Tensor, shift: Tensor) -> Tensor:
        return _deform_conv(x, shift, full_weight, None, None, **_geometry(kw))

    by_input, by_offset = gradients(forward, [input, offset], grad_output)
    grad_input.copy_(by_input)
    grad_offset.copy_(by_offset)


def deform_conv_backward_parameters(
    input: Tensor,
    offset: Tensor,
    grad_output: Tensor,
    grad_weight: Tensor,
    columns: Tensor,
    ones: Tensor,
    scale: float = 1.0,
    **kw: int,
) -> None:
    """Add scale times the gradient of the weight to grad_weight."""
    full_input, full_offset = full_precision(input, offset)

    def forward(weight: Tensor) -> Tensor:
        return _deform_conv(full_input, full_offset, weight, None, None, **_geometry(kw))

    # Linear in the weight: any value of it has the same gradient.
    (by_weight,) = gradients(forward, [torch.zeros_like(grad_weight)], grad_output)
    grad_weight.add_(by_weight.to(grad_weight), alpha=scale)


def _modulated_geometry(kw: dict[str, int]) -> dict[str, Any]:
    """Keywords of `_deform_conv` from those of mmcv's modulated version (stride_h, pad_h, …)."""
    return {
        'stride': (kw['stride_h'], kw['stride_w']),
        'padding': (kw['pad_h'], kw['pad_w']),
        'dilation': (kw['dilation_h'], kw['dilation_w']),
        'group': kw['group'],
        'deform_groups': kw['deformable_group'],
    }


def _read_as_grid(maps: Tensor, size: tuple[int, ...]) -> Tensor:
    """(N, C, *size) from maps (N, C, H, W) the way the compiled operator reads them: as numbers in a row.

    mmdet's DyHead passes the offsets of one pyramid level, a larger grid, to the convolution of the next. The compiled
    operator never looks at their H and W, it reads the first numbers of each image as if they were a smaller grid.
    Published weights were trained that way, so the same numbers are read here. ValueError where they are too few.
    """
    if maps.shape[2:] == size:
        return maps
    needed = maps.shape[1] * size[0] * size[1]
    if maps[0].numel() < needed:
        raise ValueError(
            f'modulated deformable convolution: offset or mask {tuple(maps.shape)} is smaller than output {tuple(size)}'
        )
    return maps.flatten(1)[:, :needed].reshape(*maps.shape[:2], *size)


def modulated_deform_conv_forward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    output: Tensor,
    columns: Tensor,
    with_bias: bool,
    **kw: int,
) -> None:
    """Modulated deformable convolution (Zhu et al., 2019) to output; bias is read where with_bias."""
    input, offset, weight, mask, bias = full_precision(input, offset, weight, mask, bias)
    offset, mask = (_read_as_grid(maps, output.shape[2:]) for maps in (offset, mask))
    result = _deform_conv(input, offset, weight, mask, bias if with_bias else None, **_modulated_geometry(kw))
    output.copy_(result)


def modulated_deform_conv_backward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    columns: Tensor,
    grad_input: Tensor,
    grad_weight: Tensor,
    grad_bias: Tensor,
    grad_offset: Tensor,
    grad_mask: Tensor,
    grad_output: Tensor,
    with_bias: bool,
    **kw: int,
) -> None:
    """Write the gradients of input, offset and mask, add those of weight and, where with_bias, bias."""

    def forward(x: Tensor, shift: Tensor, kernel: Tensor, modulation: Tensor) -> Tensor:
        shift, modulation = (_read_as_grid(maps, grad_output.shape[2:]) for maps in (shift, modulation))
        return _deform_conv(x, shift, kernel, modulation, None, **_modulated_geometry(kw))

    found = gradients(forward, [input, offset, weight, mask], grad_output)
    grad_input.copy_(found[0])
    grad_offset.copy_(found[1])
    grad_weight.add_(found[2].to(grad_weight))
    grad_mask.copy_(found[3])
    if with_bias:
        grad_bias.add_(grad_output.sum(dim=(0, 2, 3)))


def _attend(value: Tensor, spatial_shapes: Tensor, locations: Tensor, weights: Tensor) -> Tensor:
    """mmcv's own pure torch version of multi-scale deformable attention: (N, queries, heads * channels)."""
    from mmcv.ops.multi_scale_deform_attn import multi_scale_deformable_attn_pytorch

    # Plain integers: a list of sizes taken from a CUDA tensor would synchronise once for each use.
    return multi_scale_deformable_attn_pytorch(value, spatial_shapes.tolist(), locations, weights)


def ms_deform_attn_forward(
    value: Tensor,
    spatial_shapes: Tensor,
    level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    im2col_step: int,
) -> Tensor:
    """Multi-scale deformable attention (Zhu et al., 2021).

    Args:
        value: (N, cells of all levels, heads, channels). spatial_shapes: (levels, 2) as h, w.
        sampling_locations: (N, queries, heads, levels, points, 2) as x, y in [0, 1].
        attention_weights: (N, queries, heads, levels, points).

    Returns:
        (N, queries, heads * channels).
    """
    full = full_precision(value, sampling_locations, attention_weights)
    return _attend(full[0], spatial_shapes, full[1], full[2]).to(value.dtype)


def ms_deform_attn_backward(
    value: Tensor,
    spatial_shapes: Tensor,
    level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    grad_output: Tensor,
    grad_value: Tensor,
    grad_sampling_loc: Tensor,
    grad_attn_weight: Tensor,
    im2col_step: int,
) -> None:
    """Write the gradients of value, sampling locations and attention weights."""

    def forward(cells: Tensor, locations: Tensor, weights: Tensor) -> Tensor:
        return _attend(cells, spatial_shapes, locations, weights)

    found = gradients(forward, [value, sampling_locations, attention_weights], grad_output)
    for target, gradient in zip((grad_value, grad_sampling_loc, grad_attn_weight), found, strict=True):
        target.copy_(gradient)


OPERATORS: dict[str, Callable[..., Any]] = {
    'deform_conv_forward': deform_conv_forward,
    'deform_conv_backward_input': deform_conv_backward_input,
    'deform_conv_backward_parameters': deform_conv_backward_parameters,
    'modulated_deform_conv_forward': modulated_deform_conv_forward,
    'modulated_deform_conv_backward': modulated_deform_conv_backward,
    'ms_deform_attn_forward': ms_deform_attn_forward,
    'ms_deform_attn_backward': ms_deform_attn_backward,
}
