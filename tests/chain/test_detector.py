"""From `detector` to the model config that is trained."""

from fractions import Fraction

from mmpd.chain.detector import detector_config
from mmpd.chain.pyramid import finer_levels, shift_pyramid
from mmpd.errors import ConfigError
from mmpd.nested import walk_dicts
from tests.toys import build_model, toy_retinanet

import pytest

R18 = 'mmdet::retinanet/retinanet_r18_fpn_1x_coco.py'


def test_a_config_of_mmdet_is_read_by_name_and_made_trainable():
    model = detector_config(R18, num_classes=3, pretrained=False)
    assert model.type == 'RetinaNet' and model.backbone.depth == 18
    assert model.bbox_head.num_classes == 3
    assert model.backbone.frozen_stages == -1 and model.backbone.norm_eval is False
    assert model.backbone.init_cfg is None


def test_pretrained_weights_stay_unless_switched_off():
    assert detector_config(R18).backbone.init_cfg.checkpoint == 'torchvision://resnet18'


def test_the_source_is_never_changed():
    source = toy_retinanet()
    detector_config(source, dict(neck=dict(out_channels=4)), num_classes=9, finer_levels=1)
    assert source == toy_retinanet()
    detector_config(R18, num_classes=3, pretrained=False)
    assert detector_config(R18).bbox_head.num_classes == 80


def test_overrides_have_the_last_word():
    overrides = dict(backbone=dict(frozen_stages=2), neck=dict(start_level=2), bbox_head=dict(num_classes=5))
    model = detector_config(toy_retinanet(), overrides, num_classes=3, finer_levels=1)
    assert (model.backbone.frozen_stages, model.neck.start_level, model.bbox_head.num_classes) == (2, 2, 5)


def test_overrides_can_be_used_twice_and_replace_whole_parts():
    overrides = dict(neck=dict(_delete_=True, type='ChannelMapper', in_channels=[4], out_channels=8))
    for _ in range(2):
        assert set(detector_config(toy_retinanet(), overrides).neck) == {'type', 'in_channels', 'out_channels'}
    assert '_delete_' in overrides['neck']


@pytest.mark.parametrize('name', ['mmdet::retinanet/no_such.py', '/no/such/file.py'])
def test_a_missing_config_is_named(name):
    with pytest.raises(ConfigError, match='no such config file.*mmdet::'):
        detector_config(name)


@pytest.mark.parametrize('mention', [True, 'timm/some_weights', 'torchvision://resnet18'])
def test_no_mention_of_pretrained_weights_is_left(mention):
    backbone = dict(type='TIMMBackbone', model_name='resnet50', pretrained=mention)
    model = detector_config(dict(type='RetinaNet', backbone=backbone), pretrained=False)
    assert not model.backbone.pretrained
    assert detector_config(dict(type='RetinaNet', backbone=backbone)).backbone.pretrained == mention


def test_a_config_without_model_is_named(tmp_path):
    (tmp_path / 'schedule.py').write_text('lr = 1\n')
    with pytest.raises(ConfigError, match='has no model'):
        detector_config(str(tmp_path / 'schedule.py'))


@pytest.mark.parametrize(
    ('ratio', 'start_level', 'expected'),
    [('1', 1, 0), ('3/2', 1, 0), ('2', 1, 1), ('3', 1, 1), ('4', 1, 1), ('4', 2, 2), ('2', 0, 0), ('8', 3, 3)],
)
def test_a_fine_pyramid_starts_one_level_finer_for_each_factor_two(ratio, start_level, expected):
    model = toy_retinanet(start_level=start_level)
    assert finer_levels(model, Fraction(ratio), 'fine') == expected
    assert finer_levels(model, Fraction(ratio), 'cheap') == 0


def test_an_unknown_pyramid_is_refused():
    with pytest.raises(ConfigError, match="student_pyramid = 'finest' is unknown.*fine"):
        finer_levels(toy_retinanet(), Fraction(2), 'finest')


def test_a_shifted_pyramid_is_the_same_in_hr_pixels():
    hr, lr = detector_config(toy_retinanet()), detector_config(toy_retinanet(), finer_levels=1)
    assert lr.neck.start_level == 0 and lr.bbox_head.anchor_generator.strides == [4, 8, 16, 32]
    priors_hr, priors_lr = (
        build_model(model).bbox_head.prior_generator.grid_priors([(6, 8), (3, 4), (2, 2), (1, 1)], device='cpu')
        for model in (hr, lr)
    )
    assert all((a == 2 * b).all() for a, b in zip(priors_hr, priors_lr, strict=True))


def test_fcos_ranges_shrink_with_the_pyramid_and_stay_open():
    model = dict(
        neck=dict(start_level=1, in_channels=[8, 16], num_outs=2),
        bbox_head=dict(type='FCOSHead', strides=[8, 16], regress_ranges=((-1, 64), (64, 1e8))),
    )
    shift_pyramid(model, 1)
    assert model['bbox_head']['strides'] == [4, 8]
    assert model['bbox_head']['regress_ranges'] == ((-1, 32), (32, 1e8))


def test_too_few_levels_for_a_finer_start_are_refused():
    model = dict(
        neck=dict(type='FPN', start_level=1, in_channels=[8, 16, 32, 64], num_outs=3), bbox_head=dict(type='X')
    )
    with pytest.raises(ConfigError, match=r"neck.num_outs = 3; set student_pyramid = 'cheap'"):
        shift_pyramid(model, 1)


@pytest.mark.parametrize('neck', [dict(type='FPN', start_level=0), [dict(type='FPN'), dict(type='FSR')]])
def test_a_neck_without_a_finer_level_is_refused(neck):
    with pytest.raises(ConfigError, match='no 1 finer levels; write the pyramid in overrides'):
        shift_pyramid(dict(neck=neck, bbox_head=dict(type='RetinaHead')), 1)


def test_walk_reaches_every_dict():
    assert len(list(walk_dicts(dict(a=[dict(b=1), (dict(c=dict()),)])))) == 4
