"""Feature Super-Resolution: LR feature maps to a finer grid (DESIGN §3.4).

Legend: map (B, C, h, w) → (B, C_out, r·h, r·w), r = p/q.
"""

from __future__ import annotations

import math
from fractions import Fraction

import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from mmengine.model import BaseModule
from torch import Tensor, nn

from ..data.reduction import parse_ratio


class FSRBlock(nn.Module):
    """3×3 convolution → PixelShuffle(⌈r⌉), for a rational r followed by `resample_exact` to r times the grid.

    Where C_out = C it starts as bilinear enlargement, so a network that gets one starts as what it was.

    Args:
        in_channels: C. out_channels: C_out. ratio: r ≥ 1.
    """

    def __init__(self, in_channels: int, out_channels: int, ratio: int | float | str) -> None:
        super().__init__()
        self.ratio = parse_ratio(ratio)
        self.upscale = -(-self.ratio.numerator // self.ratio.denominator)
        self.conv = nn.Conv2d(in_channels, out_channels * self.upscale**2, 3, padding=1)
        self.shuffle = nn.PixelShuffle(self.upscale)
        if in_channels == out_channels:
            with torch.no_grad():
                self.conv.weight.copy_(bilinear_weights(in_channels, self.upscale))
        else:
            nn.init.kaiming_normal_(self.conv.weight, mode='fan_out')
        nn.init.constant_(self.conv.bias, 0)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        fine = self.shuffle(self.conv(x))
        if self.ratio.denominator == 1:
            return fine
        return resample_exact(fine, self.ratio / self.upscale)


def bilinear_weights(channels: int, upscale: int) -> Tensor:
    """(C·r², C, 3, 3) weights with which convolution and PixelShuffle enlarge bilinearly (at the border with zeros)."""
    phase = (torch.arange(upscale) + 0.5) / upscale - 0.5  # of a fine cell's centre, in coarse cells
    taps = (1 - (phase[:, None] - torch.tensor([-1.0, 0.0, 1.0])).abs()).clamp(min=0)  # (r, 3)
    kernels = torch.einsum('ai,bj->abij', taps, taps).reshape(upscale**2, 3, 3)
    return torch.einsum('kij,cd->ckdij', kernels, torch.eye(channels)).reshape(-1, channels, 3, 3)


def resample_exact(fine: Tensor, scale: Fraction) -> Tensor:
    """Shrink a map by exactly `scale`: output cell j is read at its own centre, (j + 1/2) / scale input cells.

    The output has ⌈scale · side⌉ cells, as an HR map of stride s has ⌈HR / s⌉. Resizing to that size instead would
    stretch the grid wherever scale · side is not whole: by up to 0.59 cells at its far end.

    Args:
        fine: (B, C, h, w). scale: in [1/2, 1].
    """
    p, q = scale.numerator, scale.denominator
    height, width = ((side * p + q - 1) // q for side in fine.shape[-2:])  # in integers, which an ONNX graph has, too
    extra = math.ceil(1 / scale)  # torch rounds the output's size down: give it one cell more, and cut that off
    padded = F.pad(fine, (0, extra, 0, extra), mode='replicate')
    resized = F.interpolate(
        padded, scale_factor=float(scale), mode='bilinear', align_corners=False,
        recompute_scale_factor=False,
    )  # fmt: skip
    return resized[..., :height, :width]


@MODELS.register_module()
class FSR(BaseModule):
    """FSR as a neck plugin: `neck=[dict(type='FPN', …), dict(type='FSR', in_channels=256, ratio=2)]`.

    Every level is brought to the ratio times finer grid by its own block, so the head runs on the HR grid from an LR
    image; the head's strides must be divided by ratio. Such a student needs mmpd at test time.

    Args:
        in_channels: channels of every input level (the FPN's out_channels).
        ratio: how much finer, e.g. 2 or '3/2'.
        num_levels: number of levels.
    """

    def __init__(
        self, in_channels: int, ratio: int | float | str, num_levels: int = 5, init_cfg: dict | None = None
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        self.blocks = nn.ModuleList(FSRBlock(in_channels, in_channels, ratio) for _ in range(num_levels))

    def forward(self, feats: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Per level (B, C, h, w) → (B, C, r·h, r·w), cropped to the grid that the HR pyramid has at this stride.

        A pyramid halves with ceil, and r·ceil(n/2) is up to r - 1 more than ceil(r·n/2): on a 96-pixel image the level
        of stride 64 has 2 cells, the HR pyramid at twice the size 3, and 2·2 would be one too many.
        """
        fine: list[Tensor] = []
        for block, feat in zip(self.blocks, feats, strict=True):
            level = block(feat)
            if fine:
                halved = [(side + 1) // 2 for side in fine[-1].shape[-2:]]  # ONNX divides negative numbers otherwise
                if all(0 <= side - half < block.upscale for side, half in zip(level.shape[-2:], halved, strict=True)):
                    level = level[..., : halved[0], : halved[1]]
            fine.append(level)
        return tuple(fine)
