"""What a term needs to be built, and what a step tells it."""

from types import SimpleNamespace

from mmpd.distill.step import Step
from mmpd.distill.view import Shape
from mmpd.errors import ConfigError
from mmpd.heads.base import LevelResponse
from mmpd.terms.base import Term
from mmpd.terms.fsr import FSRTerm
from tests.toys import build_distiller, first_losses, toy_pair_batch, toy_retinanet, unfrozen

import pytest
import torch


def build(tmp_path, student=None, **terms):
    student = {} if student is None else dict(student=unfrozen(toy_retinanet(**student)))
    return build_distiller(tmp_path, terms=terms, **student)


def step(height: int, width: int, shapes: list[tuple[int, int]]) -> Step:
    samples = [SimpleNamespace(img_shape=shape) for shape in shapes]
    images_lr = torch.zeros(len(shapes), 3, height, width)
    return Step(torch.zeros(len(shapes), 3, 2 * height, 2 * width), images_lr, samples, None, None, None)


def test_valid_cells_have_their_centre_on_the_image():
    valid = step(32, 64, [(32, 64), (20, 30)]).valid((4, 8))
    assert valid.shape == (2, 1, 4, 8) and valid[0].all()
    # cells of 8 pixels: centres 4, 12, 20, 28 against 20 rows, 30 columns
    assert valid[1, 0].any(dim=1).tolist() == [True, True, False, False]
    assert valid[1, 0].any(dim=0).tolist() == [True] * 4 + [False] * 4


def test_valid_pixels_of_the_hr_image_follow_the_lr_shape():
    valid = step(32, 32, [(20, 31)]).valid((64, 64))
    assert int(valid[0, 0].any(dim=1).sum()) == 40 and int(valid[0, 0].any(dim=0).sum()) == 62


def test_a_term_scales_with_its_weight(tmp_path):
    plain = first_losses(build(tmp_path, f=dict(type='FeatureTerm')))['loss_feature']
    double = first_losses(build(tmp_path, f=dict(type='FeatureTerm', loss_weight=2.0)))['loss_feature']
    torch.testing.assert_close(double, 2 * plain)


@pytest.mark.parametrize('loss', ['pkd', 'mse', 'cwd'])
def test_feature_losses_are_chosen_by_name(tmp_path, loss):
    assert first_losses(build(tmp_path, f=dict(type='FeatureTerm', loss=loss)))['loss_feature'] > 0


def test_adapters_only_where_widths_differ(tmp_path):
    assert not list(build(tmp_path, f=dict(type='FeatureTerm')).terms.parameters())
    wider = build(tmp_path, student=dict(start_level=0, out_channels=12), f=dict(type='FeatureTerm'))
    assert {tuple(p.shape) for p in wider.terms.parameters()} == {(8, 12, 1, 1), (8,)}
    assert not any(key.startswith('terms') for key in wider.student.state_dict())


def test_levels_without_a_positive_do_not_count(tmp_path):
    """A level without a positive in training: its guide map is noise, and must not pull at the student."""
    distiller = build(tmp_path, f=dict(type='FeatureTerm', loss='mse'))
    distiller.alignment.positives = (5, 0, 0, 0)
    first_losses(distiller)['loss_feature'].backward()
    gradients = [conv.conv.weight.grad for conv in distiller.student.neck.fpn_convs]
    assert gradients[0].abs().sum() > 0 and not any(g is not None and g.any() for g in gradients[1:])


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
        level = term._level(student, guide, boxes, True, torch.ones(1, 2), torch.tensor(1.0))
        return float(level['quality'])

    assert loss([5.0, 0.0]) == pytest.approx(0.0, abs=1e-6)
    assert loss([0.0, 5.0]) > 0.1


@pytest.mark.parametrize(
    ('term', 'words'),
    [
        (dict(type='FeatureTerm', loss='l7'), "loss = 'l7' is unknown.*pkd"),
        (dict(type='FSRTerm', loss='cwd'), "loss = 'cwd' is unknown.*'pkd' or 'mse'"),
    ],
)
def test_unknown_losses_are_refused(tmp_path, term, words):
    with pytest.raises(ConfigError, match=words):
        build(tmp_path, t=term)


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


def test_fsr_without_a_common_level_is_refused():
    alignment = SimpleNamespace(guide_feats=[Shape(8, 8.0)], student_feats=[Shape(8, 6.0)], ratio=2)
    with pytest.raises(ConfigError, match=r'no student stride \[6.0\] is among the guide strides'):
        FSRTerm(alignment)


@pytest.mark.parametrize(('ratio', 'scale'), [(1, 2), ('4/3', 3), ('3/2', 3), (2, 4), (3, 6), (4, 8)])
def test_the_isrd_decoder_fits_the_pairs_ratio(tmp_path, ratio, scale):
    terms = dict(isrd=dict(type='ISRDTerm'))
    distiller = build_distiller(tmp_path, init=False, student=unfrozen(toy_retinanet()), ratio=ratio, terms=terms)
    assert distiller.terms['isrd'].decoder.scale == scale


def test_an_unfinished_term_says_what_it_owes():
    with pytest.raises(NotImplementedError, match='Term must return its named losses'):
        Term(None)(None)
