"""Number formats and gradients of the stand-in operators."""

from collections.abc import Callable

import torch
from torch import Tensor


def full_precision(*tensors: Tensor) -> list[Tensor]:
    """The tensors, half and bfloat16 ones as float32.

    torchvision has no half kernels on CPU and no bfloat16 kernels at all, and under autocast the inputs of one operator
    come in different formats. Results are cast back when they are copied to the caller's output.
    """
    return [t.float() if t.dtype in (torch.float16, torch.bfloat16) else t for t in tensors]


def gradients(function: Callable[..., Tensor], inputs: list[Tensor], grad_output: Tensor) -> tuple[Tensor, ...]:
    """Gradients of function(*inputs) in all inputs, times grad_output; the forward pass runs again for it."""
    with torch.enable_grad():
        leaves = [tensor.detach().requires_grad_() for tensor in full_precision(*inputs)]
        result = function(*leaves)
    return torch.autograd.grad(result, leaves, grad_output.to(result))
