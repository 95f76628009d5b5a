"""Batch normalisation across processes of `mmcv._ext` (`MMSyncBN`): the parts of it that are local to a process.

Shapes: input (N, C, L) with L cells; mean, var, std, weight, bias (C,). mmcv's Python averages over the processes
between the calls, and calls the first two and the last two only for N > 0.
"""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from .precision import full_precision


def sync_bn_forward_mean(input: Tensor, mean: Tensor) -> None:
    """Write the mean over images and cells."""
    mean.copy_(full_precision(input)[0].mean(dim=(0, 2)))


def sync_bn_forward_var(input: Tensor, mean: Tensor, var: Tensor) -> None:
    """Write the mean squared distance to the common mean."""
    var.copy_((full_precision(input)[0] - mean[:, None]).square().mean(dim=(0, 2)))


def sync_bn_forward_output(
    input: Tensor,
    mean: Tensor,
    var: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    norm: Tensor,
    std: Tensor,
    output: Tensor,
    eps: float,
    momentum: float | Tensor,
    group_size: int,
) -> None:
    """Write the normalised input to norm and, scaled, to output, the deviation to std; update the running statistics.

    Args:
        momentum: weight of this batch in the running statistics; a tensor (1,) from newer mmcv.
        group_size: processes with as many images: the running variance is the unbiased one of all of them.
    """
    std.copy_((var + eps).sqrt())
    norm.copy_((full_precision(input)[0] - mean[:, None]) / std[:, None])
    scaled = norm if weight is None else norm * weight[:, None]
    output.copy_(scaled if bias is None else scaled + bias[:, None])
    if running_mean is None or running_var is None:
        return
    count = input.shape[0] * input.shape[2] * group_size
    unbiased = var * count / (count - 1) if count > 1 else var
    running_mean.copy_(momentum * mean + (1 - momentum) * running_mean)
    running_var.copy_(momentum * unbiased + (1 - momentum) * running_var)


def sync_bn_backward_param(grad_output: Tensor, norm: Tensor, grad_weight: Tensor, grad_bias: Tensor) -> None:
    """Write the gradients of weight and bias."""
    gradient = full_precision(grad_output)[0]
    grad_weight.copy_((gradient * norm).sum(dim=(0, 2)))
    grad_bias.copy_(gradient.sum(dim=(0, 2)))


def sync_bn_backward_data(
    grad_output: Tensor,
    weight: Tensor,
    grad_weight: Tensor,
    grad_bias: Tensor,
    norm: Tensor,
    std: Tensor,
    grad_input: Tensor,
) -> None:
    """Write the gradient of the input; those of weight and bias are means over the processes by now."""
    gradient = full_precision(grad_output)[0]
    through_statistics = (grad_weight[:, None] * norm + grad_bias[:, None]) / (norm.shape[0] * norm.shape[2])
    grad_input.copy_(weight[:, None] * (gradient - through_statistics) / std[:, None])


OPERATORS: dict[str, Callable[..., Any]] = {
    'sync_bn_forward_mean': sync_bn_forward_mean,
    'sync_bn_forward_var': sync_bn_forward_var,
    'sync_bn_forward_output': sync_bn_forward_output,
    'sync_bn_backward_param': sync_bn_backward_param,
    'sync_bn_backward_data': sync_bn_backward_data,
}
