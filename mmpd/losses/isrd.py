"""Input Spatial Representation Distillation: rebuild the HR image from the student's first feature map.

Legend: stem (B, C, h, w) student's first map; image (B, 3, H, W) normalised HR image.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def isrd_loss(rebuilt: Tensor, image: Tensor, valid: Tensor | None = None) -> Tensor:
    """Mean L1 to the normalised HR image (Pixel Distillation, eq. 3). Deviation: padding does not count.

    Args:
        rebuilt, image: (B, 3, H, W); valid: (B, 1, H, W) bool, None: no padding.
    """
    if valid is None:
        return F.l1_loss(rebuilt, image)
    mask = valid.expand_as(image)
    return ((rebuilt - image).abs() * mask).sum() / mask.sum().clamp(min=1)
