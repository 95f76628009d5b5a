"""Tiles show no seam."""

from mmpd.errors import ConfigError
from mmpd.sr.tiling import upscale
from tests.sr.toys import build, toy_edsr

import pytest
import torch


@pytest.mark.parametrize('scale', [2, 3, 4])
@pytest.mark.parametrize('size', [(23, 31), (16, 16), (8, 40)])
def test_tiled_equals_whole(scale: int, size: tuple[int, int]):
    """Receptive field of the toy: stem 1, 2 blocks of 2, last 1, upsampler 1 or 2, out 1: less than 9 LR pixels."""
    torch.manual_seed(0)
    net = build(toy_edsr(blocks=2, scale=scale)).eval()
    image = torch.rand(1, 3, *size)
    with torch.no_grad():
        whole = upscale(net, image, scale)
        tiled = upscale(net, image, scale, tile=8, overlap=9)
    assert whole.shape == (1, 3, size[0] * scale, size[1] * scale)
    torch.testing.assert_close(tiled, whole, atol=1e-5, rtol=0)


def test_without_an_overlap_there_is_a_seam():
    torch.manual_seed(0)
    net = build(toy_edsr(blocks=2, scale=2)).eval()
    image = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        difference = (upscale(net, image, 2, tile=8, overlap=0) - net(image)).abs()
    assert difference.max() > 1e-4


def test_negative_sizes_are_refused():
    with pytest.raises(ConfigError, match='tile = -1'):
        upscale(lambda x: x, torch.rand(1, 3, 8, 8), 2, tile=-1)
