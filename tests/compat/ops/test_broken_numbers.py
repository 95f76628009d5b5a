"""A NaN or inf where an operator takes a position must reach its output, not end the process (it did, on CPU)."""

import os

import mmpd  # noqa: F401  (installs the stand-in)

import pytest
import torch
from mmcv.ops import ModulatedDeformConv2dPack, deform_conv2d, modulated_deform_conv2d, roi_align, roi_pool
from torch import Tensor

BROKEN = [float('nan'), float('inf'), float('-inf')]
ONES = torch.ones(1, 9, 5, 5)
CONVOLUTIONS = {
    'deform_conv2d': lambda x, offset, weight: deform_conv2d(x, offset, weight, 1, 1),
    'modulated': lambda x, offset, weight: modulated_deform_conv2d(x, offset, ONES, weight, None, 1, 1),
}
POOLS = {
    'avg': lambda x, rois: roi_align(x, rois, (3, 3), 1.0, 2, 'avg', True),
    'avg, adaptive': lambda x, rois: roi_align(x, rois, (3, 3), 1.0, 0, 'avg', True),
    'max': lambda x, rois: roi_align(x, rois, (3, 3), 1.0, 2, 'max', True),
    'max, adaptive': lambda x, rois: roi_align(x, rois, (3, 3), 1.0, 0, 'max', True),
    'roi_pool': lambda x, rois: roi_pool(x, rois, (3, 3), 1.0),
}


def convolve(name: str, value: float) -> Tensor:
    """(1, 3, 5, 5), with one offset of the cell (2, 3) broken."""
    x, weight = torch.randn(1, 2, 5, 5, requires_grad=True), torch.randn(3, 2, 3, 3, requires_grad=True)
    offset = torch.zeros(1, 18, 5, 5)
    offset[0, 7, 2, 3] = value
    return CONVOLUTIONS[name](x, offset.requires_grad_(), weight)


def pool(name: str, side: int, value: float) -> Tensor:
    """(2, 2, 3, 3), with one side of the second RoI broken."""
    rois = torch.tensor([[0.0, 1, 1, 6, 6], [0, 2, 1, 5, 5]])
    rois[1, side] = value
    return POOLS[name](torch.randn(1, 2, 8, 8, requires_grad=True), rois)


@pytest.fixture(scope='module', autouse=True)
def _a_copy_of_the_process_survives():
    """A segmentation fault here would end the test run without a word: a forked child goes first."""
    child = os.fork()
    if child == 0:
        failed = 1
        try:
            for value in BROKEN:
                for name in CONVOLUTIONS:
                    convolve(name, value)
                for name in POOLS:
                    pool(name, 1, value)
            failed = 0
        finally:
            os._exit(failed)
    _, status = os.waitpid(child, 0)
    assert status == 0, f'the process ended with status {status} (11 is a segmentation fault)'


@pytest.mark.parametrize('value', BROKEN)
@pytest.mark.parametrize('name', CONVOLUTIONS)
def test_offset_of_a_deformable_convolution(name, value):
    result = convolve(name, value)
    assert result[0, :, 2, 3].isnan().all() and int(result.isnan().sum()) == 3, 'its cell, in every channel'
    result.sum().backward()


def test_an_offset_layer_that_has_diverged():
    layer = ModulatedDeformConv2dPack(2, 3, 3, padding=1)
    torch.nn.init.constant_(layer.conv_offset.bias, float('nan'))
    assert layer(torch.randn(1, 2, 5, 5)).mean().isnan(), 'the loss that stops the run'


@pytest.mark.parametrize('value', BROKEN)
@pytest.mark.parametrize('side', [0, 1, 4])
@pytest.mark.parametrize('name', POOLS)
def test_side_of_a_roi(name, side, value):
    result = pool(name, side, value)
    assert result[1].isnan().all() and result[0].isfinite().all()
    result.sum().backward()
