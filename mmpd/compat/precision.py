"""Number formats of the stand-in operators."""

import torch
from torch import Tensor


def full_precision(*tensors: Tensor) -> list[Tensor]:
    """The tensors, half and bfloat16 ones as float32.

    torchvision has no half kernels on CPU and no bfloat16 kernels at all, and under autocast the inputs of one operator
    come in different formats. Results are cast back when they are copied to the caller's output.
    """
    return [t.float() if t.dtype in (torch.float16, torch.bfloat16) else t for t in tensors]
