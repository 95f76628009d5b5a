"""The discriminator that tells HR features from LR features."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm


class Discriminator(nn.Module):
    """Three convolutions with leaky ReLU between them; the last gives one logit a cell (HR > 0).

    On 1×1 maps with `kernel=1` it is an MLP on vectors. No norm layer: batch statistics would mix HR and LR, or tell
    them apart by themselves.

    Args:
        in_channels: C. width: channels inside. kernel: of the first two, odd.
        spectral: keep the largest singular value of every weight at 1 (Miyato et al. 2018), which bounds how steep D
            can get and so keeps its gradient from dying.
    """

    def __init__(self, in_channels: int, width: int = 64, kernel: int = 3, spectral: bool = True) -> None:
        super().__init__()
        convs = [
            nn.Conv2d(in_channels, width, kernel, padding=kernel // 2),
            nn.Conv2d(width, width, kernel, padding=kernel // 2),
            nn.Conv2d(width, 1, 1),
        ]
        first, second, last = (spectral_norm(conv) if spectral else conv for conv in convs)
        self.layers = nn.Sequential(first, nn.LeakyReLU(0.2), second, nn.LeakyReLU(0.2), last)

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, h, w) to logits (B, 1, h, w)."""
        return self.layers(maps)
