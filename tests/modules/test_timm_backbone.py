"""timm's networks as backbones: maps, weights, and what a user sees where something is missing."""

import sys

from mmpd.errors import CheckpointError, ConfigError

import pytest
import torch
from mmdet.registry import MODELS

SMALL = dict(type='TimmBackbone', model_name='test_efficientnet', out_indices=(1, 2, 3, 4))


def test_maps_are_those_of_timm_whatever_the_memory_format():
    import timm

    torch.manual_seed(0)
    ours = MODELS.build(SMALL).eval()
    theirs = timm.create_model('test_efficientnet', features_only=True, out_indices=(1, 2, 3, 4)).eval()
    theirs.load_state_dict(ours.timm_model.state_dict())
    x = torch.randn(2, 3, 64, 96)
    for ours_map, theirs_map in zip(ours(x), theirs(x), strict=True):
        torch.testing.assert_close(ours_map, theirs_map, atol=1e-5, rtol=1e-4)
    assert [64 // level.shape[2] for level in ours(x)] == [4, 8, 16, 32]


def test_weights_of_a_package_are_loaded_by_init_weights_and_only_once():
    checkpoint = dict(type='Pretrained', checkpoint='package://efficientnet_lite0')
    net = MODELS.build(dict(type='TimmBackbone', model_name='tf_efficientnet_lite0', init_cfg=checkpoint))
    before = net.timm_model.conv_stem.weight.clone()
    net.init_weights()
    loaded = net.timm_model.conv_stem.weight.clone()
    assert not torch.equal(before, loaded)
    assert net.timm_model.bn1.running_var.std() > 0  # statistics as well
    with torch.no_grad():
        net.timm_model.conv_stem.weight.zero_()
    net.init_weights()
    assert not net.timm_model.conv_stem.weight.any()


@pytest.mark.parametrize('prefix', ['', 'timm_model.'])
def test_a_timm_state_dict_from_a_file(tmp_path, prefix):
    source, target = MODELS.build(SMALL), MODELS.build(SMALL)
    state = {prefix + key: value for key, value in source.timm_model.state_dict().items()}
    state[prefix + 'classifier.weight'] = torch.zeros(5, 5)  # timm's files have one; a backbone has none
    torch.save(state, tmp_path / 'weights.pth')
    target.init_cfg = dict(type='Pretrained', checkpoint=str(tmp_path / 'weights.pth'))
    target.init_weights()
    assert all(
        torch.equal(a, b) for a, b in zip(source.state_dict().values(), target.state_dict().values(), strict=True)
    )


def test_weights_of_another_network_are_refused():
    checkpoint = dict(type='Pretrained', checkpoint='package://efficientnet_lite0')
    with pytest.raises(CheckpointError, match=r'init_cfg\.checkpoint'):
        MODELS.build(dict(SMALL, init_cfg=checkpoint)).init_weights()


def test_what_a_user_can_get_wrong(monkeypatch):
    for wrong, key in (
        (dict(model_name='efficientnet_lite0_typo'), 'model_name'),
        (dict(out_indices=(9,)), 'out_indices'),
        (dict(pretrained=True), 'pretrained'),
    ):
        with pytest.raises(ConfigError, match=key):
            MODELS.build(dict(SMALL, **wrong))
    monkeypatch.setitem(sys.modules, 'timm', None)
    with pytest.raises(ConfigError, match=r'mmpd\[weights\]'):
        MODELS.build(SMALL)


def test_isrd_reads_the_first_convolution():
    """The stem tap of a timm backbone is the convolution before its norm."""
    from mmpd.distill.view import view_of

    detector = dict(
        type='RetinaNet',
        backbone=SMALL,
        neck=dict(type='FPN', in_channels=[24, 32, 48, 64], out_channels=16, num_outs=5),
        bbox_head=dict(
            type='RetinaHead',
            num_classes=3,
            in_channels=16,
            feat_channels=16,
            stacked_convs=1,
            anchor_generator=dict(type='AnchorGenerator', scales=[4], ratios=[1.0], strides=[4, 8, 16, 32, 64]),
            bbox_coder=dict(type='DeltaXYWHBBoxCoder'),
        ),
    )
    import timm

    detector['neck']['in_channels'] = timm.create_model(
        'test_efficientnet', features_only=True, out_indices=(1, 2, 3, 4)
    ).feature_info.channels()
    net = MODELS.build(detector)
    assert view_of(net).stem is net.backbone.timm_model.conv_stem
