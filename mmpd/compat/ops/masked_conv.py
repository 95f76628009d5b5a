"""The two halves of mmcv's masked convolution, which computes M chosen cells only (inference of Guided Anchoring).

Shapes: features (1, C, H, W); row and column indices of the cells, (M,) int64. There is no gradient, in mmcv neither.
"""

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def masked_im2col_forward(
    features: Tensor,
    mask_h_idx: Tensor,
    mask_w_idx: Tensor,
    data_col: Tensor,
    kernel_h: int,
    kernel_w: int,
    pad_h: int,
    pad_w: int,
) -> None:
    """Write what the kernel sees at each cell to data_col (C * kernel_h * kernel_w, M); zeros outside the map."""
    # Behind the map by the whole kernel: a mask of the map's own size has cells there if the padding is small.
    padded = F.pad(features[0], (pad_w, kernel_w, pad_h, kernel_h))
    rows = mask_h_idx[:, None] + torch.arange(kernel_h, device=features.device)
    columns = mask_w_idx[:, None] + torch.arange(kernel_w, device=features.device)
    seen = padded[:, rows[:, :, None], columns[:, None, :]]  # (C, M, kernel_h, kernel_w)
    data_col.copy_(seen.permute(0, 2, 3, 1).reshape(data_col.shape))


def masked_col2im_forward(
    masked_output: Tensor,
    mask_h_idx: Tensor,
    mask_w_idx: Tensor,
    output: Tensor,
    height: int,
    width: int,
    channels: int,
) -> None:
    """Write the results (channels, M) to their cells of output (1, channels, height, width); the others stay."""
    output[0, :, mask_h_idx, mask_w_idx] = masked_output


OPERATORS: dict[str, Callable[..., Any]] = {
    'masked_im2col_forward': masked_im2col_forward,
    'masked_col2im_forward': masked_col2im_forward,
}
