"""FSR brings a map to exactly ratio times its grid."""

from fractions import Fraction

from mmpd.modules.fsr import FSR, FSRBlock, resample_exact
from tests.toys import build_model, toy_retinanet

import pytest
import torch


@pytest.mark.parametrize('ratio', ['1', '3/2', '4/3', '2', '3', '4'])
@pytest.mark.parametrize('size', [(6, 8), (5, 7), (1, 1)])
def test_the_grid_is_ratio_times_finer(ratio, size):
    out = FSRBlock(4, 6, ratio)(torch.randn(2, 4, *size))
    expected = [-(-side * Fraction(ratio).numerator // Fraction(ratio).denominator) for side in size]
    assert list(out.shape) == [2, 6, *expected]


@pytest.mark.parametrize('ratio', ['3/2', '4/3', '5/2', '7/3', '11/10'])
@pytest.mark.parametrize('side', [12, 13, 17])
def test_rational_resampling_lands_on_the_hr_cell_centres(ratio, side):
    """A ramp tells its own position: HR cell j must read j + 1/2, also where side · ratio is not whole. Resizing to the
    rounded-up grid instead stretches it, by up to 0.59 cells at its end."""
    exact = Fraction(ratio)
    upscale = -(-exact.numerator // exact.denominator)
    fine = (torch.arange(side * upscale) + 0.5) * float(exact) / upscale  # in HR cells
    out = resample_exact(fine.expand(1, 1, len(fine), -1), exact / upscale)
    assert out.shape[-2:] == (-(-side * exact.numerator // exact.denominator),) * 2
    inner = slice(1, -1)
    for row in (out[0, 0, 2], out[0, 0, -4]):
        torch.testing.assert_close(row[inner], (torch.arange(len(row)) + 0.5)[inner], atol=1e-4, rtol=0)
    flat = resample_exact(torch.full((1, 1, 6, 7), 3.0), exact / upscale)
    torch.testing.assert_close(flat, torch.full_like(flat, 3.0))


def test_as_a_neck_in_a_list_the_head_runs_on_the_finer_grid():
    model = toy_retinanet(strides=[4, 8, 16, 32])
    model['neck'] = [model['neck'], dict(type='FSR', in_channels=8, ratio=2, num_levels=4)]
    net = build_model(model)
    feats = net.extract_feat(torch.randn(1, 3, 64, 96))
    assert [tuple(f.shape[-2:]) for f in feats] == [(16, 24), (8, 12), (4, 6), (2, 3)]
    assert any(key.startswith('neck.1.blocks') for key in net.state_dict())
    assert len(net.bbox_head(feats)[0]) == 4


def test_every_level_has_its_own_block_and_gradients():
    neck = FSR(4, 2, num_levels=2)
    outs = neck((torch.randn(1, 4, 4, 4), torch.randn(1, 4, 2, 2)))
    sum(out.square().sum() for out in outs).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in neck.parameters())


def test_a_level_too_many_is_an_error():
    with pytest.raises(ValueError):
        FSR(4, 2, num_levels=1)((torch.randn(1, 4, 4, 4), torch.randn(1, 4, 2, 2)))


@pytest.mark.parametrize('ratio', [2, 3, 4])
def test_equal_widths_start_as_bilinear_enlargement(ratio):
    """Oracle: torch's own, away from the border, where convolution sees zeros."""
    maps = torch.randn(2, 5, 7, 9)
    enlarged = torch.nn.functional.interpolate(maps, scale_factor=ratio, mode='bilinear', align_corners=False)
    inner = (..., slice(ratio, -ratio), slice(ratio, -ratio))
    torch.testing.assert_close(FSRBlock(5, 5, ratio)(maps)[inner], enlarged[inner])
