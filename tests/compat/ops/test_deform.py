import mmpd  # noqa: F401  (installs the stand-in)
from tests.compat.ops import naive

import pytest
import torch
from mmcv.ops import DeformConv2dPack, ModulatedDeformConv2dPack, deform_conv2d, modulated_deform_conv2d
from mmcv.ops.multi_scale_deform_attn import MultiScaleDeformableAttnFunction
from torch.autograd import gradcheck

DEVICES = ['cpu', *(['cuda'] if torch.cuda.is_available() else [])]
GEOMETRY = ((2, 1), (1, 2), (1, 2), 2, 2)  # stride, padding, dilation, groups, deform_groups


def inputs(device='cpu'):
    """Two images of 4 channels and 5×4, a 3×2 kernel to 4 channels in 2 groups, offsets off the grid's kinks."""
    generator = torch.Generator().manual_seed(0)

    def random(*shape):
        return torch.rand(*shape, dtype=torch.double, generator=generator).to(device)

    x, weight = random(2, 4, 5, 4) - 0.5, random(4, 2, 3, 2) - 0.5
    offset = random(2, 2 * 2 * 6, 3, 6) * 0.8 + 0.1
    offset += (random(2, 2 * 2 * 6, 3, 6) * 4 - 2).floor()  # some reach outside the image
    mask, bias = random(2, 2 * 6, 3, 6), random(4)
    return x, offset, mask, weight, bias


@pytest.mark.parametrize('device', DEVICES)
def test_deform_conv2d(device):
    x, offset, mask, weight, _ = inputs(device)
    expected = naive.deform_conv(*(t.cpu() for t in (x, offset, torch.ones_like(mask), weight)), *GEOMETRY)
    assert torch.allclose(deform_conv2d(x, offset, weight, *GEOMETRY).cpu(), expected)


@pytest.mark.parametrize('device', DEVICES)
def test_modulated_deform_conv2d(device):
    x, offset, mask, weight, bias = inputs(device)
    expected = naive.deform_conv(*(t.cpu() for t in (x, offset, mask, weight)), *GEOMETRY)
    without_bias = modulated_deform_conv2d(x, offset, mask, weight, None, *GEOMETRY)
    with_bias = modulated_deform_conv2d(x, offset, mask, weight, bias, *GEOMETRY)
    assert torch.allclose(without_bias.cpu(), expected)
    assert torch.allclose(with_bias.cpu(), expected + bias.cpu()[:, None, None])


@pytest.mark.parametrize('device', DEVICES)
def test_gradcheck(device):
    x, offset, mask, weight, bias = (t.requires_grad_() for t in inputs(device))
    assert gradcheck(lambda *t: deform_conv2d(*t, *GEOMETRY), (x, offset, weight), fast_mode=True)
    assert gradcheck(lambda *t: modulated_deform_conv2d(*t, *GEOMETRY), (x, offset, mask, weight, bias), fast_mode=True)


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('reach', [0, 2])
@pytest.mark.parametrize('modulated', [False, True])
def test_gradients_of_samples_on_the_grid(device, modulated, reach):
    """Whole offsets put samples on -1 and H (W), where there is no slope, and on the cells, where there are two."""
    generator = torch.Generator().manual_seed(0)
    offset = torch.randint(-reach, reach + 1, (1, 12, 3, 4), generator=generator)
    shapes = [(1, 1, 3, 3), (1, 6, 3, 4), (1, 1, 3, 2), (1, 1, 3, 4)]
    x, mask, weight, towards = (torch.rand(*shape, dtype=torch.double, generator=generator) for shape in shapes)
    leaves = [t.to(device).requires_grad_() for t in (x, offset.double(), weight, *([mask] if modulated else []))]
    geometry = (1, 1), (1, 1), (1, 1), 1, 1
    if modulated:
        found = modulated_deform_conv2d(leaves[0], leaves[1], leaves[3], leaves[2], None, *geometry)
        expected = naive.deform_conv(leaves[0], leaves[1], leaves[3], leaves[2], *geometry)
    else:
        found = deform_conv2d(*leaves, *geometry)
        expected = naive.deform_conv(*leaves[:2], torch.ones_like(mask).to(device), leaves[2], *geometry)
    assert torch.allclose(found, expected)
    for gradient, by_definition in zip(
        torch.autograd.grad(found, leaves, towards.to(found)),
        torch.autograd.grad(expected, leaves, towards.to(found)),
        strict=True,
    ):
        assert torch.allclose(gradient, by_definition)


def test_first_step_of_a_zero_initialised_layer():
    """Its samples are on the grid, and with padding on -1 and H (W): the offset branch learns from inside alone."""
    torch.manual_seed(0)
    layer, x = ModulatedDeformConv2dPack(2, 2, 3, padding=1).double(), torch.randn(1, 2, 3, 3).double()
    torch.nn.init.uniform_(layer.weight)
    layer(x).square().sum().backward()
    found = layer.conv_offset.weight.grad.clone()

    layer.zero_grad()
    dy, dx, mask = layer.conv_offset(x).chunk(3, dim=1)
    offset = torch.cat([dy, dx], dim=1)  # mmcv names them so; the operator reads pairs
    expected = naive.deform_conv(x, offset, mask.sigmoid(), layer.weight, (1, 1), (1, 1), (1, 1), 1, 1)
    expected.square().sum().backward()
    assert torch.allclose(found, layer.conv_offset.weight.grad)


def test_zero_offset_is_a_convolution():
    x, offset, _, weight, _ = inputs()
    plain = torch.nn.functional.conv2d(x, weight, None, *GEOMETRY[:4])
    assert torch.allclose(deform_conv2d(x, torch.zeros_like(offset), weight, *GEOMETRY), plain)


def test_offset_of_the_wrong_width_is_named():
    x, offset, _, weight, _ = inputs()
    with pytest.raises(ValueError, match='deform_groups=2'):
        deform_conv2d(x, offset[:, :12], weight, *GEOMETRY)


def test_modulated_offsets_of_a_larger_grid_are_read_as_numbers_in_a_row():
    """As the compiled operator does, and as DyHead's published weights were trained."""
    x, offset, mask, weight, bias = inputs()
    larger = [torch.cat([t.flatten(1), torch.full((2, t.shape[1] * 12), 9.0)], dim=1) for t in (offset, mask)]
    larger = [t.reshape(2, -1, 3, 10).requires_grad_() for t in larger]
    result = modulated_deform_conv2d(x, *larger, weight, bias, *GEOMETRY)
    assert torch.equal(result, modulated_deform_conv2d(x, offset, mask, weight, bias, *GEOMETRY))
    result.sum().backward()
    assert larger[0].grad.flatten(1)[:, offset[0].numel() :].abs().sum() == 0
    with pytest.raises(ValueError, match='smaller than output'):
        modulated_deform_conv2d(x, offset[..., 1:], mask, weight, bias, *GEOMETRY)


@pytest.mark.parametrize('layer', [DeformConv2dPack, ModulatedDeformConv2dPack])
def test_layers_train_under_autocast(layer):
    """The offset convolution gives bfloat16 there while the weights stay float32."""
    module = layer(4, 6, 3, padding=1)
    with torch.autocast('cpu', torch.bfloat16):
        result = module(torch.randn(2, 4, 8, 8))
    result.float().sum().backward()
    assert result.shape == (2, 6, 8, 8)
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in module.parameters())


@pytest.mark.parametrize('device', DEVICES)
def test_ms_deform_attn(device):
    shapes = [(3, 4), (2, 2)]
    generator = torch.Generator().manual_seed(0)
    value = torch.rand(2, 16, 2, 3, dtype=torch.double, generator=generator)
    locations = torch.rand(2, 4, 2, 2, 2, 2, dtype=torch.double, generator=generator) * 1.2 - 0.1
    weights = torch.rand(2, 4, 2, 2, 2, dtype=torch.double, generator=generator)
    leaves = [t.to(device).requires_grad_() for t in (value, locations, weights)]
    levels = torch.tensor(shapes, device=device), torch.tensor([0, 12], device=device)

    def attend(v, where, w):
        return MultiScaleDeformableAttnFunction.apply(v, *levels, where, w, 64)

    assert torch.allclose(attend(*leaves).cpu(), naive.ms_deform_attn(value, shapes, locations, weights))
    assert gradcheck(attend, leaves, fast_mode=True)
