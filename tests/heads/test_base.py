"""A head's raw outputs as boxes and scores, against mmdet's own post-processing."""

from mmpd.errors import ConfigError
from mmpd.heads.base import LevelResponse, family_of, head_levels, register_family, responses
from tests.toys import build_model, toy_retinanet

import pytest
import torch
from mmdet.models.dense_heads import YOLOXHead
from mmdet.structures import DetDataSample
from mmengine.config import ConfigDict
from torch import nn

SIZES = [(6, 8), (3, 4)]
POINTS = dict(type='MlvlPointGenerator', offset=0, strides=[8, 16])
SQUARES = dict(type='AnchorGenerator', ratios=[1.0], octave_base_scale=8, scales_per_octave=1, strides=[8, 16])
GN = dict(type='GN', num_groups=2, requires_grad=True)
COMMON = dict(num_classes=3, in_channels=8, feat_channels=8, stacked_convs=1)
HEADS = {
    'retina': {**toy_retinanet(3, num_outs=4)['bbox_head'], 'anchor_generator': {**SQUARES, 'ratios': [0.5, 1.0, 2.0]}},
    'fcos': dict(
        type='FCOSHead',
        norm_cfg=GN,
        strides=[8, 16],
        norm_on_bbox=True,
        centerness_on_reg=True,
        regress_ranges=((-1, 64), (64, 1e8)),
        **COMMON,
    ),
    'fcos_pixels': dict(type='FCOSHead', norm_cfg=GN, strides=[8, 16], regress_ranges=((-1, 64), (64, 1e8)), **COMMON),
    'atss': dict(
        type='ATSSHead',
        norm_cfg=GN,
        anchor_generator=SQUARES,
        bbox_coder=dict(type='DeltaXYWHBBoxCoder', target_stds=[0.1, 0.1, 0.2, 0.2]),
        **COMMON,
    ),
    'gfl': dict(type='GFLHead', norm_cfg=GN, anchor_generator=SQUARES, reg_max=4, **COMMON),
    'rtmdet': dict(
        type='RTMDetSepBNHead',
        bbox_coder=dict(type='DistancePointBBoxCoder'),
        anchor_generator=POINTS,
        with_objectness=False,
        norm_cfg=dict(type='BN'),
        **COMMON,
    ),
}
NO_FILTER = ConfigDict(nms_pre=10**6, score_thr=-1.0, max_per_img=10**6, min_bbox_size=-1)


def build_head(name: str) -> nn.Module:
    torch.manual_seed(0)
    config = dict(HEADS[name])
    if 'loss_bbox' not in config and name in ('gfl', 'rtmdet'):
        config['loss_bbox'] = dict(type='GIoULoss', loss_weight=1.0)
    head = build_model(config)
    head.init_weights()
    for parameter in head.parameters():
        parameter.data.add_(0.05 * torch.randn_like(parameter))
    return head.eval()


def features() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(2, 8, *size, generator=generator) for size in SIZES]


def sorted_rows(scores: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
    rows = torch.cat([scores[:, None], boxes], dim=1)
    return torch.stack(sorted(rows, key=lambda row: row.tolist()))


@pytest.mark.parametrize('name', HEADS)
def test_scores_and_boxes_are_those_of_mmdets_post_processing(name):
    head = build_head(name)
    with torch.no_grad():
        outputs = head(features())
        levels = responses(head, outputs)
        metas = [DetDataSample(metainfo=dict(img_shape=(10**4, 10**4), scale_factor=(1.0, 1.0))).metainfo] * 2
        expected = head.predict_by_feat(*outputs, batch_img_metas=metas, cfg=NO_FILTER, with_nms=False)
    for image in range(2):
        boxes = torch.cat([level.boxes[image] for level in levels]).clamp(0, 10**4)
        scores = torch.cat([level.scores()[image] for level in levels])
        n_classes = scores.shape[1]
        got = sorted_rows(scores.flatten(), boxes.repeat_interleave(n_classes, dim=0))
        torch.testing.assert_close(
            got, sorted_rows(expected[image].scores, expected[image].bboxes), atol=2e-3, rtol=1e-4
        )


@pytest.mark.parametrize('name', HEADS)
def test_shapes_are_h_w_anchors(name):
    head = build_head(name)
    for level, size in zip(responses(head, head(features())), SIZES, strict=True):
        n = size[0] * size[1] * head.num_base_priors
        assert level.grid == size
        assert level.logits.shape == (2, n, 3) and level.boxes.shape == (2, n, 4)
        assert (level.quality is not None) == (name in ('fcos', 'fcos_pixels', 'atss'))
        assert level.quality is None or level.quality.shape == (2, n)
        assert (level.distribution is not None) == (name == 'gfl')
        assert level.distribution is None or level.distribution.shape == (2, n, 4, 5)


@pytest.mark.parametrize('name', ['fcos', 'fcos_pixels'])
def test_fcos_boxes_do_not_depend_on_the_mode(name):
    """With norm_on_bbox it predicts strides in training, pixels in eval; guide and student are in different modes."""
    head = build_head(name)
    with torch.no_grad():
        in_eval = [level.boxes for level in responses(head, head(features()))]
        head.train()
        in_training = [level.boxes for level in responses(head, head(features()))]
    torch.testing.assert_close(in_training, in_eval)


def test_levels_of_an_anchor_head():
    first, second = head_levels(build_head('retina'))
    assert (first.stride, second.stride, first.offset) == (8.0, 16.0, 0.0)
    assert [round(w * h) for w, h in first.anchors] == [64**2] * 3 and first.size == pytest.approx(64)
    assert second.same_priors(first.scaled(2))


def test_levels_of_fcos_have_open_ends_that_survive_scaling():
    first, second = head_levels(build_head('fcos'))
    assert (first.offset, first.anchors) == (0.5, ()) and first.size_range == (0.0, 64.0)
    assert second.scaled(2).size_range == (128.0, float('inf'))


def test_fcos_with_other_than_five_levels_is_told_to_give_its_ranges():
    head = {key: value for key, value in HEADS['fcos'].items() if key != 'regress_ranges'}
    with pytest.raises(ConfigError, match=r'2 strides and 5 regress_ranges \(five by default\)'):
        head_levels(build_model(head))


def test_autoassign_has_no_ranges_whatever_its_number_of_levels():
    """It inherits those of FCOS, five by default, and is not trained by them."""
    head = build_model(dict(type='AutoAssignHead', norm_cfg=GN, strides=[8, 16], **COMMON))
    assert [level.size_range for level in head_levels(head)] == [None, None]


def test_rtmdet_points_sit_on_the_corners():
    assert head_levels(build_head('rtmdet'))[0].offset == 0.0


@pytest.mark.parametrize('ratio', [1, 2, 4])
def test_window_priors_are_bit_equal_at_powers_of_two(ratio):
    """Invariant 1: guide priors = ratio × student priors."""
    guide = build_model({**HEADS['retina'], 'anchor_generator': {**SQUARES, 'strides': [16, 32]}}).prior_generator
    strides = [16 // ratio, 32 // ratio]
    student = build_model({**HEADS['retina'], 'anchor_generator': {**SQUARES, 'strides': strides}}).prior_generator
    for priors_hr, priors_lr in zip(
        guide.grid_priors(SIZES, device='cpu'), student.grid_priors(SIZES, device='cpu'), strict=True
    ):
        assert torch.equal(priors_hr, ratio * priors_lr)


def test_window_priors_agree_at_ratio_three():
    guide = build_model({**HEADS['retina'], 'anchor_generator': {**SQUARES, 'strides': [24, 48]}})
    student = build_model({**HEADS['retina'], 'anchor_generator': SQUARES})
    assert all(g.same_priors(s.scaled(3)) for g, s in zip(head_levels(guide), head_levels(student), strict=True))
    priors = [head.prior_generator.grid_priors(SIZES, device='cpu') for head in (guide, student)]
    for priors_hr, priors_lr in zip(*priors, strict=True):
        torch.testing.assert_close(priors_hr, 3 * priors_lr)


def test_unknown_heads_have_no_family():
    assert family_of(nn.Linear(1, 1)) is None and family_of(None) is None
    with pytest.raises(TypeError, match='Linear has no head family.*register_family'):
        responses(nn.Linear(1, 1), ([], []))


def test_a_registered_family_serves_subclasses(monkeypatch):
    from mmpd.heads import base as heads

    monkeypatch.setattr(heads, 'FAMILIES', dict(heads.FAMILIES))

    class Mine(YOLOXHead):
        pass

    def decode(head, bbox_pred, priors, level):
        return bbox_pred

    register_family(YOLOXHead)(decode)
    assert family_of(Mine.__new__(Mine)) is decode


def test_scores_are_probabilities_times_quality():
    response = LevelResponse(torch.zeros(1, 1, 2), torch.zeros(1, 1, 4), torch.zeros(1, 1), None, (1, 1))
    torch.testing.assert_close(response.scores(), torch.full((1, 1, 2), 0.25))
