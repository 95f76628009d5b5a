"""Peak activation memory of small networks, by hand."""

from mmpd.evaluation.activation import peak_activation

import torch
from torch import nn

PIXELS = 16 * 16 * 4  # bytes of one fp32 channel


def peak(net: nn.Module) -> int:
    image = torch.zeros(1, 3, 16, 16)
    return peak_activation(lambda: net(image), [*net.parameters(), *net.buffers()], image)


def test_input_and_the_two_maps_around_an_operator() -> None:
    """Image 3 channels; at the ReLU both its input and its output (8 each) are alive."""
    net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 4, 3, padding=1))
    assert peak(net) == (3 + 8 + 8) * PIXELS


def test_in_place_results_and_views_cost_nothing() -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(inplace=True), nn.Flatten(2), nn.Unflatten(2, (16, 16)))
    assert peak(net) == (3 + 8) * PIXELS


def test_what_is_kept_for_later_counts() -> None:
    """A residual block holds its input while the branch runs: 3 + 8 + 8 + 8 at the sum."""

    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv2d(3, 8, 1)
            self.second = nn.Conv2d(8, 8, 1)

        def forward(self, x):
            y = self.first(x)
            return y + self.second(y)

    assert peak(Residual()) == (3 + 8 + 8 + 8) * PIXELS
