import mmpd  # noqa: F401  (installs the stand-in)

import pytest
import torch
from mmcv.ops import MaskedConv2d
from mmdet.registry import MODELS

DEVICES = ['cpu', *(['cuda'] if torch.cuda.is_available() else [])]


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize(('kernel', 'padding'), [(3, 1), ((3, 5), (1, 2)), (1, 0)])
def test_the_convolution_at_the_chosen_cells_and_zeros_elsewhere(device, kernel, padding):
    torch.manual_seed(0)
    layer, x = MaskedConv2d(3, 4, kernel, padding=padding).to(device), torch.randn(1, 3, 6, 7, device=device)
    mask = torch.rand(1, 6, 7, device=device) > 0.6
    mask[0, 0, 0] = mask[0, -1, -1] = True
    with torch.no_grad():
        assert torch.allclose(layer(x, mask), layer(x) * mask, atol=1e-5)
        assert not layer(x, torch.zeros_like(mask)).any()
    assert mask.any() and not mask.all()


@pytest.mark.parametrize('kind', ['GARetinaHead', 'GARPNHead'])
def test_guided_anchor_heads_of_mmdet(kind):
    """In testing they convolve only where an object's centre may be; in training everywhere."""
    torch.manual_seed(0)
    head = MODELS.build(
        {
            'type': kind,
            'num_classes': 1 if kind == 'GARPNHead' else 3,
            'in_channels': 8,
            'feat_channels': 8,
            'deform_groups': 2,
            'loc_filter_thr': 0.5,
            'anchor_coder': {
                'type': 'DeltaXYWHBBoxCoder',
                'target_means': [0.0] * 4,
                'target_stds': [1.0] * 4,
            },
            'bbox_coder': {
                'type': 'DeltaXYWHBBoxCoder',
                'target_means': [0.0] * 4,
                'target_stds': [1.0] * 4,
            },
            'loss_loc': {'type': 'FocalLoss', 'use_sigmoid': True},
            'loss_shape': {'type': 'BoundedIoULoss', 'beta': 0.2},
            'loss_cls': {'type': 'FocalLoss', 'use_sigmoid': True},
            'loss_bbox': {'type': 'SmoothL1Loss'},
        }
    )
    torch.nn.init.normal_(head.conv_loc.weight)
    x = [torch.randn(1, 8, 6, 7)]
    with torch.no_grad():
        everywhere, _, _, location = (level[0] for level in head.train()(x))
        chosen, *_ = (level[0] for level in head.eval()(x))
    mask = location.sigmoid() >= 0.5
    assert mask.any() and not mask.all()
    assert torch.allclose(chosen, everywhere * mask, atol=1e-5)
