"""FSR brings a map to exactly ratio times its grid."""

from fractions import Fraction

from mmpd.modules.fsr import FSR, FSRBlock
from tests.toys import build_model, toy_retinanet

import pytest
import torch


@pytest.mark.parametrize('ratio', ['1', '3/2', '4/3', '2', '3', '4'])
@pytest.mark.parametrize('size', [(6, 8), (5, 7), (1, 1)])
def test_the_grid_is_ratio_times_finer(ratio, size):
    out = FSRBlock(4, 6, ratio)(torch.randn(2, 4, *size))
    expected = [-(-side * Fraction(ratio).numerator // Fraction(ratio).denominator) for side in size]
    assert list(out.shape) == [2, 6, *expected]


@pytest.mark.parametrize('ratio', ['3/2', '4/3'])
def test_rational_resampling_does_not_shift(ratio):
    """A ramp over the shuffled grid stays the same ramp over the final one."""
    block = FSRBlock(1, 1, ratio)
    block.conv, block.shuffle = torch.nn.Identity(), torch.nn.Upsample(scale_factor=block.upscale, mode='bilinear')
    ramp = ((torch.arange(12) + 0.5) / 12).expand(1, 1, 12, 12)
    out = block(ramp)[0, 0, 0]
    expected = (torch.arange(len(out)) + 0.5) / len(out)
    torch.testing.assert_close(out[2:-2], expected[2:-2], atol=0.01, rtol=0)


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
