"""The resolution discriminator by itself."""

from mmpd.modules.discriminator import Discriminator

import pytest
import torch
from torch import nn


def test_one_logit_a_cell():
    assert Discriminator(5, 6)(torch.zeros(2, 5, 3, 4)).shape == (2, 1, 3, 4)


def test_with_kernel_one_cells_do_not_see_each_other():
    net = Discriminator(5, 6, kernel=1).eval()
    maps = torch.randn(2, 5, 3, 4)
    one = net(maps[:, :, 1:2, 2:3])
    torch.testing.assert_close(net(maps)[:, :, 1:2, 2:3], one)


def test_spectral_norm_bounds_every_layer():
    torch.manual_seed(0)
    net = Discriminator(5, 6, kernel=1)
    for _ in range(50):
        net(torch.randn(1, 5, 1, 1))
    for layer in net.layers:
        if isinstance(layer, nn.Conv2d):
            assert float(torch.linalg.svdvals(layer.weight.flatten(1))[0]) == pytest.approx(1.0, abs=0.02)
    assert not any('parametrizations' in name for name, _ in Discriminator(5, 6, spectral=False).named_parameters())
