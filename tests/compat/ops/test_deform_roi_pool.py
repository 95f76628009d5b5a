import mmpd  # noqa: F401  (installs the stand-in)
from tests.compat.ops import naive
from tests.compat.ops.test_roi import ROIS, features

import pytest
import torch
from mmcv.ops import DeformRoIPoolPack, ModulatedDeformRoIPoolPack, deform_roi_pool, roi_align
from mmdet.registry import MODELS
from torch.autograd import gradcheck

DEVICES = ['cpu', *(['cuda'] if torch.cuda.is_available() else [])]


def offsets(device='cpu'):
    return torch.randn(len(ROIS), 2, 2, 3, dtype=torch.double, generator=torch.Generator().manual_seed(1)).to(device)


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('ratio', [0, 2])
def test_deform_roi_pool(device, ratio):
    pooled = deform_roi_pool(features(device), ROIS.to(device), offsets(device), (2, 3), 0.25, ratio, 0.3)
    assert torch.allclose(pooled.cpu(), naive.deform_roi_pool(features(), ROIS, offsets(), (2, 3), 0.25, ratio, 0.3))


@pytest.mark.parametrize('ratio', [0, 2])
def test_without_offsets_it_is_roi_align(ratio):
    expected = roi_align(features(), ROIS, (2, 3), 0.25, ratio, 'avg', True)
    assert torch.allclose(deform_roi_pool(features(), ROIS, None, (2, 3), 0.25, ratio), expected)
    assert torch.allclose(deform_roi_pool(features(), ROIS, offsets() * 0, (2, 3), 0.25, ratio), expected)


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('ratio', [0, 2])
def test_gradcheck(device, ratio):
    leaves = features(device).requires_grad_(), offsets(device).requires_grad_()
    assert gradcheck(
        lambda x, o: deform_roi_pool(x, ROIS.to(device), o, (2, 3), 0.25, ratio, 0.3), leaves, fast_mode=True
    )
    assert gradcheck(
        lambda x: deform_roi_pool(x, ROIS.to(device), None, (2, 3), 0.25, ratio), leaves[:1], fast_mode=True
    )


def test_a_box_without_area_and_no_box():
    x = features().requires_grad_()
    flat = torch.tensor([[0, 4.0, 4.0, 4.0, 20.0], [1, 3.0, 3.0, 12.0, 12.0]], dtype=torch.double)
    pooled = deform_roi_pool(x, flat, None, (2, 3), 0.25, 0)
    assert not pooled[0].any() and pooled[1].any()
    none = deform_roi_pool(x, flat[:0], offsets()[:0], (2, 3), 0.25, 0)
    (pooled.sum() + none.sum()).backward()
    assert none.shape == (0, 2, 2, 3) and torch.isfinite(x.grad).all()


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_an_offset_that_has_diverged_reaches_its_bin(value):
    shift = offsets()
    shift[1, 0, 1, 2] = value
    pooled = deform_roi_pool(features(), ROIS, shift, (2, 3), 0.25, 2)
    assert pooled[1, :, 1, 2].isnan().all() and int(pooled.isnan().sum()) == 2


@pytest.mark.parametrize('layer', [DeformRoIPoolPack, ModulatedDeformRoIPoolPack])
def test_roi_extractor_of_mmdet_trains(layer):
    """As in mmdet's configs of DCN with RoI pooling."""
    extractor = MODELS.build(
        {
            'type': 'SingleRoIExtractor',
            'roi_layer': {'type': layer.__name__, 'output_size': 2, 'output_channels': 4, 'deform_fc_channels': 8},
            'out_channels': 4,
            'featmap_strides': [4, 8],
        }
    )
    rois = torch.tensor([[0, 4.0, 4.0, 20.0, 28.0], [0, 2.0, 1.0, 150.0, 140.0]])
    pooled = extractor([torch.randn(1, 4, 40, 40), torch.randn(1, 4, 20, 20)], rois)
    pooled.square().sum().backward()
    for pool in extractor.roi_layers:
        last = pool.offset_fc[-1].bias.grad
        assert torch.isfinite(last).all() and last.abs().sum() > 0
