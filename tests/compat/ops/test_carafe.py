import mmpd  # noqa: F401  (installs the stand-in)
from tests.compat.ops import naive

import pytest
import torch
from mmcv.ops.carafe import CARAFEPack, carafe, carafe_naive
from mmdet.registry import MODELS
from torch.autograd import gradcheck

DEVICES = ['cpu', *(['cuda'] if torch.cuda.is_available() else [])]


def inputs(kernel, groups, scale, device='cpu'):
    generator = torch.Generator().manual_seed(0)
    shapes = [(2, 4, 3, 2), (2, groups * kernel**2, 3 * scale, 2 * scale)]
    return [torch.randn(*shape, dtype=torch.double, generator=generator).to(device) for shape in shapes]


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize(('kernel', 'groups', 'scale'), [(3, 2, 2), (5, 1, 2), (1, 4, 3), (3, 1, 1)])
def test_carafe(device, kernel, groups, scale):
    x, masks = inputs(kernel, groups, scale, device)
    expected = naive.carafe(x.cpu(), masks.cpu(), kernel, groups, scale)
    for operator in (carafe, carafe_naive):
        assert torch.allclose(operator(x, masks, kernel, groups, scale).cpu(), expected)


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize(('kernel', 'groups', 'scale'), [(3, 2, 2), (5, 1, 2), (1, 4, 3)])
def test_gradcheck(device, kernel, groups, scale):
    leaves = [t.requires_grad_() for t in inputs(kernel, groups, scale, device)]
    assert gradcheck(lambda *t: carafe(*t, kernel, groups, scale), leaves, fast_mode=True)


def test_the_naive_form_has_the_same_gradients():
    """Asked for at the extension: mmcv's own Python layer takes its gradients on GPUs only."""
    from mmpd.compat.ops.carafe import carafe_naive_backward

    x, masks = (t.requires_grad_() for t in inputs(3, 2, 2))
    result = carafe(x, masks, 3, 2, 2)
    towards = torch.randn_like(result)
    found = torch.empty_like(x), torch.empty_like(masks)
    carafe_naive_backward(towards, x.detach(), masks.detach(), *found, kernel_size=3, group_size=2, scale_factor=2)
    for gradient, expected in zip(found, torch.autograd.grad(result, (x, masks), towards), strict=True):
        assert torch.allclose(gradient, expected)


def test_weights_that_sum_to_one_keep_a_constant_map_inside():
    layer = CARAFEPack(3, 2)
    result = layer(torch.full((1, 3, 9, 9), 2.0))
    assert result.shape == (1, 3, 18, 18)
    assert torch.allclose(result[..., 4:-4, 4:-4], torch.tensor(2.0))


def test_layer_trains_under_autocast():
    layer = CARAFEPack(4, 2, up_kernel=3)
    with torch.autocast('cpu', torch.bfloat16):
        result = layer(torch.randn(1, 4, 4, 4))
    result.float().sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in layer.parameters())


def test_fpn_carafe_of_mmdet_trains():
    neck = MODELS.build(
        {
            'type': 'FPN_CARAFE',
            'in_channels': [4, 6, 8],
            'out_channels': 4,
            'num_outs': 4,
            'start_level': 0,
            'order': ('conv', 'norm', 'act'),
            'upsample_cfg': {'type': 'carafe', 'up_kernel': 5, 'up_group': 1, 'encoder_kernel': 3},
        }
    )
    neck.init_weights()
    levels = neck([torch.randn(1, channels, side, side) for channels, side in ((4, 8), (6, 4), (8, 2))])
    assert [level.shape[-1] for level in levels] == [8, 4, 2, 1]
    levels[0].square().sum().backward()
    for upsampling in neck.upsample_modules:
        assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in upsampling.parameters())
        assert upsampling.content_encoder.weight.grad.abs().sum() > 0
