"""ISRD: the shape rule at every ratio, and what the decoder is."""

from mmpd.losses.isrd import isrd_loss, isrd_loss_of_stem
from mmpd.modules.isrd_decoder import ISRDDecoder, isrd_scale

import pytest
import torch
import torch.nn.functional as F


def test_the_decoder_is_a_convolution_without_bias_a_shuffle_and_prelu():
    decoder = ISRDDecoder(5, 4)
    assert {name: tuple(p.shape) for name, p in decoder.named_parameters()} == {
        'conv.weight': (48, 5, 1, 1),
        'activation.weight': (3,),
    }
    stem = torch.randn(2, 5, 3, 4)
    expected = F.prelu(F.pixel_shuffle(F.conv2d(stem, decoder.conv.weight), 4), decoder.activation.weight)
    torch.testing.assert_close(decoder(stem, (12, 16)), expected)


@pytest.mark.parametrize(
    ('hr', 'stem', 'scale'), [(64, 32, 2), (64, 16, 4), (96, 16, 6), (128, 16, 8), (128, 48, 3), (65, 32, 3)]
)
def test_scale_is_the_rounded_up_quotient(hr, stem, scale):
    assert isrd_scale(hr, stem) == scale


def constant_decoder(scale: int) -> ISRDDecoder:
    """Repeats its one channel: each stem cell paints its scale × scale block."""
    decoder = ISRDDecoder(1, scale)
    torch.nn.init.ones_(decoder.conv.weight)
    return decoder


@pytest.mark.parametrize('overhang', [0, 1, 3])
def test_a_small_overhang_is_cropped_exactly(overhang):
    stem = torch.rand(1, 1, 5, 6)
    size = (20 - overhang, 24 - overhang)
    expected = stem.repeat_interleave(4, 2).repeat_interleave(4, 3)[..., : size[0], : size[1]].expand(-1, 3, -1, -1)
    torch.testing.assert_close(constant_decoder(4)(stem, size), expected)


def test_a_larger_overhang_is_resized_and_not_cropped():
    """Ratio 4/3, stem stride 2: 3 pixels a cell instead of 8/3. A crop puts the right end a ninth of the side off."""
    hr, cells = 128, 48
    ramp = torch.linspace(0, 1, cells).expand(1, 1, cells, cells)
    rebuilt = constant_decoder(isrd_scale(hr, cells))(ramp, (hr, hr))
    assert rebuilt.shape == (1, 3, hr, hr)
    torch.testing.assert_close(rebuilt[0, 0, 0], torch.linspace(0, 1, hr), atol=0.02, rtol=0)
    cropped = ramp.repeat_interleave(3, 3)[0, 0, 0, :hr]
    assert abs(float(cropped[-1]) - 1) > 0.1


def test_a_decoder_that_falls_short_is_resized_too():
    assert ISRDDecoder(1, 2)(torch.rand(1, 1, 8, 8), (17, 17)).shape == (1, 3, 17, 17)


def test_loss_is_the_mean_distance_off_the_padding():
    rebuilt, image = torch.zeros(1, 3, 2, 2), torch.tensor([[1.0, 2.0], [50.0, 50.0]]).expand(1, 3, 2, 2)
    valid = torch.tensor([[[[True, True], [False, False]]]])
    assert float(isrd_loss(rebuilt, image, valid)) == 1.5
    assert float(isrd_loss(image, image, valid)) == 0.0
    assert float(isrd_loss(rebuilt, image, torch.zeros_like(valid))) == 0.0


def test_gradient_reaches_stem_and_decoder():
    decoder, stem = ISRDDecoder(2, 2), torch.randn(1, 2, 3, 3, requires_grad=True)
    isrd_loss(decoder(stem, (6, 6)), torch.randn(1, 3, 6, 6), torch.ones(1, 1, 6, 6, dtype=torch.bool)).backward()
    assert stem.grad.abs().sum() > 0 and all(p.grad.abs().sum() > 0 for p in decoder.parameters())


def problem(kind: torch.dtype = torch.float32) -> tuple[torch.Tensor, ...]:
    """Stem, weight, slopes, image and a mask, of three images at scale 2."""
    generator = torch.Generator().manual_seed(0)
    shapes = ((3, 4, 3, 4), (12, 4, 1, 1), (3, 3, 6, 8))
    stem, weight, image = (torch.randn(*shape, generator=generator, dtype=kind) for shape in shapes)
    valid = torch.ones(3, 1, 6, 8, dtype=torch.bool)
    valid[1, :, 4:], valid[2, :, :, 5:] = False, False
    return stem, weight, torch.tensor([0.1, 0.3, 0.5], dtype=kind), image, valid


@pytest.mark.parametrize('padded', [False, True])
@pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last])
def test_a_stem_of_any_memory_layout_gives_the_formulas_loss_and_gradient(layout, padded):
    """The tokens of a vision transformer come as channels last."""
    *values, image, valid = problem()
    mask = valid if padded else None
    values[0][0, :, 0] = 0  # as a black corner without bias: exactly where a PReLU has its kink
    own, other = ([v.clone().requires_grad_() for v in values] for _ in range(2))
    fast = isrd_loss_of_stem(own[0].contiguous(memory_format=layout), *own[1:], image, mask)
    slow = isrd_loss(F.prelu(F.pixel_shuffle(F.conv2d(*other[:2]), 2), other[2]), image, mask)
    torch.testing.assert_close(fast, slow)
    for loss in (fast, slow):
        (3 * loss).backward()
    for one, two in zip(own, other, strict=True):
        torch.testing.assert_close(one.grad, two.grad, atol=1e-6, rtol=1e-5)


def test_the_gradient_made_on_the_way_is_that_of_finite_differences():
    *values, image, valid = problem(torch.float64)
    leaves = [value.requires_grad_() for value in values]
    assert torch.autograd.gradcheck(lambda *of: isrd_loss_of_stem(*of, image, valid), leaves)
