import mmpd  # noqa: F401  (installs the stand-in)
from tests.compat.ops import naive

import pytest
import torch
from mmcv.ops import RoIAlign, roi_align, roi_pool
from torch.autograd import gradcheck

DEVICES = ['cpu', *(['cuda'] if torch.cuda.is_available() else [])]
# Inside, over the border, thinner than a cell, far outside, more than a cell above the map, and on the grid's lines;
# of two images; in pixels at stride 4.
ROIS = torch.tensor(
    [
        [0, 3.0, 5.0, 21.0, 17.5],
        [1, -9.0, -3.0, 14.0, 30.0],
        [1, 8.1, 8.2, 9.3, 9.4],
        [0, 200.0, 200.0, 230.0, 220.0],
        [0, 2.0, -14.0, 20.0, -2.0],
        [1, 4.0, 4.0, 20.0, 16.0],
    ],
    dtype=torch.double,
)


def features(device='cpu'):
    return torch.randn(2, 2, 6, 7, dtype=torch.double, generator=torch.Generator().manual_seed(0)).to(device)


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('aligned', [True, False])
@pytest.mark.parametrize('ratio', [0, 2])
@pytest.mark.parametrize('mode', ['avg', 'max'])
def test_roi_align(device, mode, ratio, aligned):
    pooled = roi_align(features(device), ROIS.to(device), (2, 3), 0.25, ratio, mode, aligned)
    assert torch.allclose(pooled.cpu(), naive.roi_align(features(), ROIS, (2, 3), 0.25, ratio, mode, aligned))


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('mode', ['avg', 'max'])
def test_roi_align_gradcheck(device, mode):
    x = features(device).requires_grad_()
    assert gradcheck(lambda y: roi_align(y, ROIS.to(device), (2, 3), 0.25, 2, mode, True), x)


@pytest.mark.parametrize('mode', ['avg', 'max'])
def test_roi_align_of_no_roi_trains(mode):
    """An image without proposals: an empty result that still has a graph."""
    x = features().float().requires_grad_()
    pooled = RoIAlign((7, 7), 0.25, pool_mode=mode)(x, torch.zeros(0, 5))
    pooled.sum().backward()
    assert pooled.shape == (0, 2, 7, 7) and x.grad.abs().sum() == 0


def test_roi_align_in_bfloat16_keeps_its_format():
    pooled = roi_align(features().bfloat16(), ROIS.bfloat16(), (2, 2), 0.25, 0, 'avg', True)
    expected = roi_align(features(), ROIS.bfloat16().double(), (2, 2), 0.25, 0, 'avg', True)
    assert pooled.dtype == torch.bfloat16
    assert torch.allclose(pooled.double(), expected, atol=0.05)


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('slope', [0, 1, -1])
def test_roi_pool(device, slope):
    """On a ramp the maximum is in a bin's last (or first) cell: the bins' edges decide the result."""
    x = features() + slope * 100 * torch.arange(2 * 2 * 6 * 7).reshape(2, 2, 6, 7)
    pooled = roi_pool(x.to(device), ROIS.to(device), (2, 3), 0.25)
    assert torch.allclose(pooled.cpu(), naive.roi_pool(x, ROIS, (2, 3), 0.25))


@pytest.mark.parametrize('device', DEVICES)
def test_roi_pool_gradcheck(device):
    x = features(device).requires_grad_()
    assert gradcheck(lambda y: roi_pool(y, ROIS.to(device), (2, 3), 0.25), x)
