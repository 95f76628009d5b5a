"""The decoder that rebuilds the HR image from the student's stem."""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor, nn


class ISRDDecoder(nn.Module):
    """1×1 convolution without bias → PixelShuffle(s) → PReLU(3) (Pixel Distillation, sec. 3.3 and its code).

    Args:
        in_channels: C of the stem.
        scale: s = ceil(HR side / stem side), HR pixels per stem cell.
    """

    def __init__(self, in_channels: int, scale: int) -> None:
        super().__init__()
        self.scale = scale
        self.conv = nn.Conv2d(in_channels, 3 * scale**2, 1, bias=False)
        self.shuffle = nn.PixelShuffle(scale)
        self.activation = nn.PReLU(3)

    def forward(self, stem: Tensor, size: tuple[int, int]) -> Tensor:
        """(B, C, h, w) to (B, 3, H, W) with size = (H, W)."""
        image = self.activation(self.shuffle(self.conv(stem)))
        overhang = [have - want for have, want in zip(image.shape[-2:], size, strict=True)]
        if all(0 <= extra < self.scale for extra in overhang):
            return image[..., : size[0], : size[1]]
        # Cropping a larger overhang would shift the image: at ratio 4/3 by 71 pixels.
        return F.interpolate(image, size, mode='bilinear', align_corners=False)

    def fits(self, stem: Tensor, size: tuple[int, int]) -> bool:
        """Whether `forward` neither crops nor resizes: (s·h, s·w) is `size`."""
        return all(cells * self.scale == n for cells, n in zip(stem.shape[-2:], size, strict=True))


def isrd_scale(hr_side: int, stem_side: int) -> int:
    """s = ceil(HR side / stem side)."""
    return math.ceil(hr_side / stem_side)
