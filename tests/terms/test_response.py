"""The response term: where and how much the student listens to the guide's head."""

from mmpd.errors import ConfigError
from mmpd.heads.base import LevelResponse
from mmpd.terms.response import Spots
from tests.toys import build_distiller, first_losses, toy_pair_batch, toy_retinanet, unfrozen

import pytest
import torch


def build(tmp_path, student=None, **terms):
    student = {} if student is None else dict(student=unfrozen(toy_retinanet(**student)))
    return build_distiller(tmp_path, terms=terms, **student)


def test_the_box_loss_counts_only_where_the_guide_is_right(tmp_path):
    """Weights compare guide boxes / ratio with the ground truth in LR pixels: far from every object nothing is left."""
    distiller = build(tmp_path, r=dict(type='ResponseTerm'))
    assert first_losses(distiller)['loss_response_bbox'] > 0
    batch = toy_pair_batch(2)
    for sample in batch['data_samples']:
        sample.gt_instances.bboxes += 1000
    assert first_losses(distiller, batch)['loss_response_bbox'] == 0


def test_a_guide_that_is_sure_of_nothing_teaches_no_boxes(tmp_path):
    distiller = build(tmp_path, r=dict(type='ResponseTerm', threshold=0.99))
    losses = first_losses(distiller)
    assert losses['loss_response_bbox'] == 0 and losses['loss_response_cls'] > 0


def test_centerness_is_heard_only_where_the_guide_sees_an_object(tmp_path):
    """A head learns centerness on objects alone, so on the thousands of other cells the guide's is noise."""
    term = build(tmp_path, r=dict(type='ResponseTerm')).terms['r']
    boxes, logits = torch.tensor([[[0.0, 0, 8, 8], [8, 0, 16, 8]]]), torch.tensor([[[-30.0], [3.0]]])

    def loss(quality: list[float]) -> float:
        guide = LevelResponse(logits, boxes, torch.tensor([quality]), None, (1, 2))
        student = LevelResponse(logits, boxes, torch.zeros(1, 2), None, (1, 2))
        spots = Spots(torch.tensor([0, 0]), torch.tensor([0, 1]), boxes[0], torch.ones(2))
        level = term._losses(student, guide, spots, torch.tensor(1.0), None)
        return float(level['quality'])

    assert loss([5.0, 0.0]) == pytest.approx(0.0, abs=1e-6)
    assert loss([0.0, 5.0]) > 0.1


def test_responses_of_other_anchors_are_compared(tmp_path):
    head = toy_retinanet(start_level=0)['bbox_head']
    head['anchor_generator'] = {**head['anchor_generator'], 'ratios': [0.5, 1.0, 2.0]}
    losses = first_losses(build(tmp_path, student=dict(start_level=0, bbox_head=head), r=dict(type='ResponseTerm')))
    assert losses['loss_response_cls'] > 0


def toy_gfl(start_level: int, reg_max: int) -> dict:
    model = toy_retinanet(start_level=start_level)
    head = {key: model['bbox_head'][key] for key in ('num_classes', 'in_channels', 'feat_channels', 'stacked_convs')}
    generator = {**model['bbox_head']['anchor_generator'], 'octave_base_scale': 8}
    norm = dict(type='GN', num_groups=2, requires_grad=True)
    model['bbox_head'] = dict(
        type='GFLHead',
        norm_cfg=norm,
        reg_max=reg_max,
        anchor_generator=generator,
        loss_bbox=dict(type='GIoULoss'),
        **head,
    )
    model['train_cfg'] = dict(assigner=dict(type='ATSSAssigner', topk=9), allowed_border=-1, pos_weight=-1, debug=False)
    return {**model, 'type': 'GFL'}


def test_distributions_of_other_lengths_are_refused_with_both_numbers(tmp_path):
    pair = dict(guide=toy_gfl(1, 16), init=False, terms=dict(r=dict(type='ResponseTerm')), guide_checkpoint=None)
    with pytest.raises(ConfigError, match='reg_max is 16 in the guide head and 8 in the student.*17 and 9 bins'):
        build_distiller(tmp_path, student=unfrozen(toy_gfl(0, 8)), **pair)
    assert build_distiller(tmp_path, student=unfrozen(toy_gfl(0, 16)), **pair)
    # where no strides agree no distributions are compared, so any will do
    assert build_distiller(tmp_path, student=unfrozen(toy_gfl(1, 8)), ratio='3/2', **pair)


def test_without_a_box_weight_the_classes_speak_alone(tmp_path):
    """A loss that is always 0 is an error of the preflight, so classes alone must not bring one."""
    losses = first_losses(build(tmp_path, r=dict(type='ResponseTerm', box_weight=0)))
    assert losses['loss_response_cls'] > 0 and 'loss_response_bbox' not in losses
