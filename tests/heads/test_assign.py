"""Where a head's own assigner puts objects, against the targets that mmdet trains the head on."""

from mmpd.heads.assign import assigned, level_grids
from tests.heads.test_base import GN, HEADS, SQUARES
from tests.toys import build_model

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData

MAX_IOU = dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0, ignore_iof_thr=-1)
RPN_IOU = dict(
    type='MaxIoUAssigner', pos_iou_thr=0.7, neg_iou_thr=0.3, min_pos_iou=0.3, match_low_quality=True, ignore_iof_thr=-1
)
COMMON = dict(in_channels=8, feat_channels=8)
BINARY = dict(type='CrossEntropyLoss', use_sigmoid=True)
TRAINED = {
    'retina': (HEADS['retina'], dict(assigner=MAX_IOU, allowed_border=-1)),
    'retina_inside': (HEADS['retina'], dict(assigner=MAX_IOU, allowed_border=0)),
    'rpn': (
        dict(type='RPNHead', anchor_generator=SQUARES, loss_cls=BINARY, **COMMON),
        dict(assigner=RPN_IOU, allowed_border=0),
    ),
    'atss': (HEADS['atss'], dict(assigner=dict(type='ATSSAssigner', topk=9), allowed_border=-1)),
    'gfl': (
        dict(HEADS['gfl'], loss_bbox=dict(type='GIoULoss')),
        dict(assigner=dict(type='ATSSAssigner', topk=9), allowed_border=0),
    ),
}
SIZE = (128, 192)
BOXES = torch.tensor([[4.0, 6, 70, 75], [60, 50, 150, 120], [100, 10, 130, 45], [0, 90, 20, 128]])
NONE = torch.zeros(0, 4)


def build(name: str):
    head, train_cfg = TRAINED[name]
    return build_model(dict(head, train_cfg=ConfigDict(pos_weight=-1, debug=False, **train_cfg)))


@pytest.mark.parametrize('name', TRAINED)
@pytest.mark.parametrize('ignored', [NONE, torch.tensor([[60.0, 50, 150, 120]])], ids=['none ignored', 'one ignored'])
def test_anchor_heads_are_trained_on_what_is_said(name, ignored):
    head = build(name)
    grids = level_grids([stride[0] for stride in head.prior_generator.strides], SIZE)
    boxes = BOXES[:2]
    found = assigned(head, grids, SIZE, boxes, ignored)
    anchors, flags = head.get_anchors(grids, [dict(pad_shape=SIZE)], device='cpu')
    # labels that tell the two objects apart; an RPN knows only one class, so it tells positives from the rest
    labels = torch.zeros(2, dtype=torch.long) if name == 'rpn' else torch.tensor([0, 1])
    gt = InstanceData(bboxes=boxes, labels=labels)
    metas, ignore = [dict(img_shape=SIZE)], [InstanceData(bboxes=ignored)]
    if name == 'rpn':  # it samples among the positives at random: take every one
        head.sampler.num, head.sampler.pos_fraction = 10**6, 0.5
    targets = head.get_targets(anchors, flags, [gt], metas, batch_gt_instances_ignore=ignore)
    skip = 1 if name in ('atss', 'gfl') else 0  # these return the anchors first
    labels, weights = (torch.cat([level[0] for level in part]) for part in targets[skip : skip + 2])
    expected = torch.where(labels < head.num_classes, labels + 1, torch.zeros_like(labels))
    expected[weights == 0] = -1
    if name == 'rpn':
        found = found.clamp(max=1)
    assert (found > 0).any() and torch.equal(found, expected)


@pytest.mark.parametrize('centre', [False, True])
def test_fcos_is_trained_on_what_is_said(centre):
    head = build_model(dict(HEADS['fcos'], center_sampling=centre, center_sample_radius=1.5))
    grids = level_grids([8, 16], SIZE)
    found = assigned(head, grids, SIZE, BOXES, NONE)
    points = torch.cat(head.prior_generator.grid_priors(grids, device='cpu'))
    strides = [8.0] * (grids[0][0] * grids[0][1]) + [16.0] * (grids[1][0] * grids[1][1])
    for point, stride, answer in zip(points.tolist(), strides, found.tolist(), strict=True):
        low, high = (0, 64) if stride == 8 else (64, 1e8)
        best, area = 0, float('inf')
        for index, (x1, y1, x2, y2) in enumerate(BOXES.tolist()):
            sides = (point[0] - x1, point[1] - y1, x2 - point[0], y2 - point[1])
            reach = (abs(point[0] - (x1 + x2) / 2), abs(point[1] - (y1 + y2) / 2))
            near = max(reach) < 1.5 * stride if centre else True
            if min(sides) > 0 and low <= max(sides) <= high and near and (x2 - x1) * (y2 - y1) < area:
                best, area = index + 1, (x2 - x1) * (y2 - y1)
        assert answer == best
    assert set(found.tolist()) >= {0, 1, 2, 3}


@pytest.mark.parametrize(('boxes', 'name'), [(NONE, 'retina'), (NONE, 'atss')])
def test_without_objects_all_is_background(boxes, name):
    assert not assigned(build(name), level_grids([8, 16], SIZE), SIZE, boxes, NONE).any()


def test_heads_whose_targets_need_predictions_have_no_answer():
    rtmdet = dict(HEADS['rtmdet'], loss_bbox=dict(type='GIoULoss'))
    soft = dict(assigner=dict(type='DynamicSoftLabelAssigner', topk=13), allowed_border=-1)
    head = build_model(dict(rtmdet, train_cfg=ConfigDict(pos_weight=-1, debug=False, **soft)))
    assert assigned(head, level_grids([8, 16], SIZE), SIZE, BOXES, NONE) is None
    auto = build_model(dict(type='AutoAssignHead', num_classes=3, norm_cfg=GN, strides=[8, 16], **COMMON))
    assert assigned(auto, level_grids([8, 16], SIZE), SIZE, BOXES, NONE) is None
    paa = dict(HEADS['atss'], type='PAAHead', train_cfg=ConfigDict(assigner=MAX_IOU, allowed_border=-1))
    assert assigned(build_model(paa), level_grids([8, 16], SIZE), SIZE, BOXES, NONE) is None
    assert assigned(torch.nn.Linear(1, 1), [(1, 1)], SIZE, BOXES, NONE) is None
    assert assigned(None, [(1, 1)], SIZE, BOXES, NONE) is None
