"""Super-resolution networks, all with one contract: `SRNetwork`.

Legend: B = batch; h, w = LR sides; s = scale; C = channels.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from torch import Tensor, nn

from ..errors import ConfigError

MEAN = (0.4488, 0.4371, 0.4040)
"""RGB mean of DIV2K, which the published networks subtract."""
RANGE = 255.0
"""Published EDSR and RCAN compute in 0..255; their learning rates belong to it."""
SCALES = (2, 3, 4, 8)


class SRNetwork(nn.Module):
    """Base: an image of RGB values 0..1, (B, 3, h, w), to one of (B, 3, s·h, s·w), not clamped.

    Attributes:
        scale: s.
    """

    mean: Tensor

    def __init__(self, scale: int) -> None:
        super().__init__()
        if scale not in SCALES:
            raise ConfigError(f'ratio = {scale!r}: super-resolution networks are made for {SCALES}')
        self.scale = scale
        self.register_buffer('mean', torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)

    # properties: assigned, a module would be there twice, in the checkpoint too
    @property
    def stem(self) -> nn.Module:
        """First convolution."""
        raise NotImplementedError

    @property
    def groups(self) -> list[nn.Module]:
        """The residual blocks or groups of the body, in order: what feature distillation may look at."""
        raise NotImplementedError

    @staticmethod
    def group_map(output: Tensor, inputs: tuple) -> Tensor:
        """Output of a group (and its positional inputs) as a map (B, C, h, w)."""
        return output


class ResidualBlock(nn.Module):
    """Convolution, ReLU, convolution, and the input again; no batch norm (EDSR §3.1). (B, C, h, w), same out."""

    def __init__(self, channels: int, res_scale: float = 1.0) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.res_scale = res_scale

    def forward(self, x: Tensor) -> Tensor:
        residual = self.conv2(F.relu(self.conv1(x)))
        return x + (residual if self.res_scale == 1 else residual * self.res_scale)


def upsampler(scale: int, channels: int) -> nn.Sequential:
    """Convolution and pixel shuffle, by 3 or by twos. (B, C, h, w) to (B, C, s·h, s·w)."""
    factors = [scale] if scale == 3 else [2] * (scale.bit_length() - 1)
    layers: list[nn.Module] = []
    for factor in factors:
        layers += [nn.Conv2d(channels, channels * factor**2, 3, padding=1), nn.PixelShuffle(factor)]
    return nn.Sequential(*layers)


class EDSRTrunk(nn.Module):
    """Every layer of EDSR, without the mean and the range: what is quantised. (B, 3, h, w) to (B, 3, s·h, s·w)."""

    def __init__(self, scale: int, channels: int, blocks: int, res_scale: float) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, channels, 3, padding=1)
        self.blocks = nn.Sequential(*[ResidualBlock(channels, res_scale) for _ in range(blocks)])
        self.last = nn.Conv2d(channels, channels, 3, padding=1)
        self.up = upsampler(scale, channels)
        self.out = nn.Conv2d(channels, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        first = self.stem(x)
        return self.out(self.up(self.last(self.blocks(first)) + first))


@MODELS.register_module()
class EDSR(SRNetwork):
    """EDSR (Lim et al., CVPRW 2017).

    Args:
        scale: s; a chain sets it to its ratio.
        channels, blocks: 256 and 32 is the published network, 64 and 16 its baseline.
        res_scale: factor of each block's residual; 0.1 keeps 256 channels stable.
        bicubic_skip: add the bicubic image to the output, so that the layers learn the difference alone. Ours, for
            schedules of minutes; the published network learns the whole image.
    """

    def __init__(
        self, scale: int, channels: int = 64, blocks: int = 16, res_scale: float = 1.0, bicubic_skip: bool = False
    ) -> None:
        super().__init__(scale)
        self.bicubic_skip = bicubic_skip
        self.trunk = EDSRTrunk(scale, channels, blocks, res_scale)

    @property
    def stem(self) -> nn.Module:
        return self.trunk.stem

    @property
    def groups(self) -> list[nn.Module]:
        return list(self.trunk.blocks)

    def forward(self, images: Tensor) -> Tensor:
        base = self.mean
        if self.bicubic_skip:
            base = F.interpolate(images, scale_factor=self.scale, mode='bicubic', align_corners=False)
        return self.trunk((images - self.mean) * RANGE).float() / RANGE + base


@MODELS.register_module()
class RCAN(SRNetwork):
    """RCAN (Zhang et al., ECCV 2018), spandrel's layers.

    Args:
        scale: s.
        groups, blocks, channels: residual groups, channel-attention blocks in each, channels.
    """

    def __init__(self, scale: int, groups: int = 10, blocks: int = 20, channels: int = 64) -> None:
        super().__init__(scale)
        spandrel = _spandrel('RCAN')
        # its own mean shift would be trained: it sets requires_grad on the module, where torch does not look for it
        self.net = spandrel.RCAN(scale=scale, n_resgroups=groups, n_resblocks=blocks, n_feats=channels, norm=False)

    @property
    def stem(self) -> nn.Module:
        return self.net.head[0]

    @property
    def groups(self) -> list[nn.Module]:
        return list(self.net.body)[:-1]

    def forward(self, images: Tensor) -> Tensor:
        # the difference is a new tensor: the layers multiply their input in place
        return self.net((images - self.mean) * RANGE).float() / RANGE + self.mean


@MODELS.register_module()
class SwinIR(SRNetwork):
    """SwinIR for classical super-resolution (Liang et al., ICCVW 2021), spandrel's layers.

    Args:
        scale: s.
        channels: embedding width, a multiple of `heads`.
        depths: Swin layers in each residual group.
        heads, window: of the attention. Images are padded by reflection to multiples of `window` inside.
        drop_path: rate of stochastic depth.
    """

    def __init__(
        self,
        scale: int,
        channels: int = 180,
        depths: tuple[int, ...] = (6, 6, 6, 6, 6, 6),
        heads: int = 6,
        window: int = 8,
        drop_path: float = 0.1,
    ) -> None:
        super().__init__(scale)
        self.net = _spandrel('SwinIR').SwinIR(
            upscale=scale,
            img_size=48,
            window_size=window,
            embed_dim=channels,
            depths=list(depths),
            num_heads=[heads] * len(depths),
            mlp_ratio=2,
            drop_path_rate=drop_path,
            upsampler='pixelshuffle',
        )

    @property
    def stem(self) -> nn.Module:
        return self.net.conv_first

    @property
    def groups(self) -> list[nn.Module]:
        return list(self.net.layers)

    def forward(self, images: Tensor) -> Tensor:
        return self.net(images).float()

    @staticmethod
    def group_map(output: Tensor, inputs: tuple) -> Tensor:
        """Tokens (B, h·w, C), row by row, to (B, C, h, w) of the padded image."""
        height, width = inputs[1]
        return output.transpose(1, 2).unflatten(2, (height, width))


def _spandrel(name: str) -> Any:
    """spandrel's module of an architecture; imported when it is asked for, since it takes seconds.

    Raises:
        ConfigError: spandrel is not installed.
    """
    try:
        import importlib

        return importlib.import_module(f'spandrel.architectures.{name}')
    except ImportError as error:
        raise ConfigError(
            f"backbone.type = '{name}' needs spandrel, which cannot be imported ({error}): pip install -e .[sr]"
        ) from error
