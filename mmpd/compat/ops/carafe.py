"""CARAFE upsampling of `mmcv._ext` (Wang et al., 2019, eq. 4): each output cell is a weighted sum of the input cells
around it, with weights of its own.

Shapes: features (N, C, H, W); masks, the weights, (N, G * k * k, s * H, s * W) for G groups of channels, a k × k window
(k odd) and scale factor s; output (N, C, s * H, s * W). Cells outside the map are zero.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .precision import full_precision


def _by_group(maps: Tensor, groups: int, scale: int) -> Tensor:
    """(N, groups, rest, H, s, W, s) from maps (N, groups * rest, s * H, s * W): output cells by their input cell."""
    height, width = maps.shape[2] // scale, maps.shape[3] // scale
    return maps.reshape(maps.shape[0], groups, -1, height, scale, width, scale)


def _windows(padded: Tensor, kernel_size: int) -> Iterator[tuple[int, Tensor]]:
    """Each cell of the window, in rows, with its view of the padded map: the input shifted so that it lies there."""
    height, width = (side - kernel_size + 1 for side in padded.shape[-2:])
    for cell in range(kernel_size**2):
        row, column = divmod(cell, kernel_size)
        yield cell, padded[..., row : row + height, column : column + width]


def carafe_naive_forward(
    features: Tensor, masks: Tensor, output: Tensor, kernel_size: int, group_size: int, scale_factor: int
) -> None:
    """Write the upsampled features to output. One pass for each cell of the window: the memory of one output map."""
    features, masks = full_precision(features, masks)
    weights = _by_group(masks, group_size, scale_factor)
    padded = F.pad(features.unflatten(1, (group_size, -1)), [kernel_size // 2] * 4)
    total = torch.zeros_like(_by_group(output, group_size, scale_factor), dtype=features.dtype)
    for cell, shifted in _windows(padded, kernel_size):
        total.addcmul_(shifted[..., None, :, None], weights[:, :, cell, None])
    output.copy_(total.reshape(output.shape))


def carafe_naive_backward(
    grad_output: Tensor,
    features: Tensor,
    masks: Tensor,
    grad_input: Tensor,
    grad_masks: Tensor,
    kernel_size: int,
    group_size: int,
    scale_factor: int,
) -> None:
    """Write the gradients of the features and of the masks."""
    grad_output, features, masks = full_precision(grad_output, features, masks)
    by_output = _by_group(grad_output, group_size, scale_factor)
    weights = _by_group(masks, group_size, scale_factor)
    margin = kernel_size // 2
    padded = F.pad(features.unflatten(1, (group_size, -1)), [margin] * 4)
    by_padded, by_weights = torch.zeros_like(padded), torch.zeros_like(weights)
    for (cell, shifted), (_, target) in zip(
        _windows(padded, kernel_size), _windows(by_padded, kernel_size), strict=True
    ):
        target += (by_output * weights[:, :, cell, None]).sum(dim=(4, 6))
        by_weights[:, :, cell] = (by_output * shifted[..., None, :, None]).sum(dim=2)
    height, width = features.shape[2:]
    grad_input.copy_(by_padded[..., margin : margin + height, margin : margin + width].flatten(1, 2))
    grad_masks.copy_(by_weights.reshape(masks.shape))


def carafe_forward(
    features: Tensor,
    masks: Tensor,
    rfeatures: Tensor,
    routput: Tensor,
    rmasks: Tensor,
    output: Tensor,
    kernel_size: int,
    group_size: int,
    scale_factor: int,
) -> None:
    """As `carafe_naive_forward`; rfeatures, all that the backward pass receives, becomes a copy of the features."""
    rfeatures.copy_(features)
    carafe_naive_forward(features, masks, output, kernel_size, group_size, scale_factor)


def carafe_backward(
    grad_output: Tensor,
    rfeatures: Tensor,
    masks: Tensor,
    rgrad_output: Tensor,
    rgrad_input_hs: Tensor,
    rgrad_input: Tensor,
    rgrad_masks: Tensor,
    grad_input: Tensor,
    grad_masks: Tensor,
    kernel_size: int,
    group_size: int,
    scale_factor: int,
) -> None:
    """As `carafe_naive_backward`; the rgrad_* tensors, scratch space, stay unused."""
    carafe_naive_backward(grad_output, rfeatures, masks, grad_input, grad_masks, kernel_size, group_size, scale_factor)


OPERATORS: dict[str, Callable[..., Any]] = {
    'carafe_naive_forward': carafe_naive_forward,
    'carafe_naive_backward': carafe_naive_backward,
    'carafe_forward': carafe_forward,
    'carafe_backward': carafe_backward,
}
