"""The Distiller's invariants: the guide never changes, is never stored, and every term teaches (DESIGN §4, 2–4)."""

import copy
import pickle

from mmpd.errors import ConfigError
from tests.toys import (
    TERMS,
    build_distiller,
    first_losses,
    save_weights,
    toy_pair_batch,
    toy_retinanet,
    unfrozen,
)

import pytest
import torch
from mmengine.model import ExponentialMovingAverage
from mmengine.registry import DefaultScope

OWN = {'loss_cls', 'loss_bbox'}
ALL_TERMS = {**TERMS, 'fsr': dict(type='FSRTerm')}


@pytest.fixture
def distiller(tmp_path):
    return build_distiller(tmp_path)


def guide_file(distiller) -> dict[str, torch.Tensor]:
    return torch.load(distiller.frozen.checkpoint, weights_only=True)['state_dict']


def assert_guide_is_its_file(distiller) -> None:
    content, state = guide_file(distiller), distiller.guide.state_dict()
    assert state.keys() == content.keys()
    assert all(torch.equal(state[key], content[key]) for key in content)


# --- the guide never changes ---


def test_training_steps_leave_the_guide_as_its_file(distiller):
    optimizer = torch.optim.SGD(distiller.parameters(), lr=0.1)
    before = copy.deepcopy(distiller.student.state_dict())
    distiller.train()
    for _ in range(2):
        optimizer.zero_grad()
        sum(first_losses(distiller).values()).backward()
        optimizer.step()
    assert_guide_is_its_file(distiller)
    moved = [key for key, value in distiller.student.state_dict().items() if not torch.equal(value, before[key])]
    assert any('running_mean' in key for key in moved) and 'backbone.conv1.weight' in moved


@pytest.mark.parametrize('mode', [True, False])
def test_train_returns_self_and_keeps_the_guide_in_eval(distiller, mode):
    assert distiller.train(mode) is distiller
    assert distiller.student.training is mode
    assert not any(module.training for module in distiller.guide.modules())


def test_init_weights_loads_the_guide_and_does_not_draw_it_anew(tmp_path):
    distiller = build_distiller(tmp_path, init=False)
    with pytest.raises(ConfigError, match='init_weights'):
        first_losses(distiller)
    distiller.init_weights()
    assert_guide_is_its_file(distiller)
    assert not distiller.guide.backbone._is_init


def test_no_gradient_reaches_the_guide(distiller):
    sum(first_losses(distiller).values()).backward()
    assert all(not p.requires_grad and p.grad is None for p in distiller.guide.parameters())


def test_double_and_half_reach_the_guide(distiller):
    for dtype in (torch.float64, torch.float16):
        distiller.to(dtype)
        floating = [t for t in distiller.guide.state_dict().values() if t.is_floating_point()]
        assert {t.dtype for t in floating} == {dtype}


def test_in_double_precision_a_step_still_works(distiller):
    distiller.double()
    data = distiller.data_preprocessor(toy_pair_batch(2), True)
    data['inputs'] = {key: value.double() for key, value in data['inputs'].items()}
    losses = distiller(**data, mode='loss')
    assert {'loss_feature', 'loss_isrd', 'loss_response_cls'} <= losses.keys()


def test_copies_share_the_guide_and_own_their_student(distiller):
    """mmengine's EMAHook deep-copies the whole model."""
    averaged = ExponentialMovingAverage(distiller)
    twin = averaged.module
    assert twin.guide is distiller.guide
    assert twin.guide_view.net is distiller.guide and twin.alignment.guide.net is distiller.guide
    assert twin.guide_view.stem is distiller.guide_view.stem
    assert twin.student is not distiller.student and twin.student_view.net is twin.student
    assert twin.alignment.student.net is twin.student
    assert all(not p.requires_grad for p in twin.parameters())
    assert any(p.requires_grad for p in distiller.parameters())


# --- the guide is in nothing that is stored or trained ---


def test_state_parameters_and_modules_are_the_students_and_the_terms(distiller):
    assert {key.split('.')[0] for key in distiller.state_dict()} == {'student', 'terms'}
    guide_ids = {id(t) for t in [*distiller.guide.parameters(), *distiller.guide.buffers()]}
    assert not guide_ids & {id(t) for t in [*distiller.parameters(), *distiller.buffers()]}
    assert not set(distiller.guide.modules()) & set(distiller.modules())


def test_a_state_dict_goes_back_in_completely(tmp_path, distiller):
    with torch.no_grad():
        for parameter in distiller.parameters():
            parameter.add_(1)
    other = build_distiller(tmp_path)
    assert str(other.load_state_dict(distiller.state_dict(), strict=True)) == '<All keys matched successfully>'
    assert all(torch.equal(a, b) for a, b in zip(other.parameters(), distiller.parameters(), strict=True))


# --- every term teaches ---

PAIRS = {
    'fine, ratio 2': dict(),
    'cheap, ratio 2': dict(student=unfrozen(toy_retinanet())),
    'resample, ratio 2': dict(align='resample', student=unfrozen(toy_retinanet())),
    'ratio 3/2': dict(ratio='3/2', student=unfrozen(toy_retinanet())),
    'ratio 4/3': dict(ratio='4/3', student=unfrozen(toy_retinanet())),
    'ratio 3': dict(ratio=3),
    'ratio 4': dict(ratio=4),
    'compression, ratio 1': dict(ratio=1, student=unfrozen(toy_retinanet())),
    'other widths': dict(student=unfrozen(toy_retinanet(start_level=0, out_channels=12))),
}


@pytest.mark.parametrize('pair', PAIRS)
def test_every_term_is_positive_finite_and_reaches_the_student(tmp_path, pair):
    distiller = build_distiller(tmp_path, terms=ALL_TERMS, **PAIRS[pair]).train()
    losses = first_losses(distiller)
    names = {'loss_feature', 'loss_response_cls', 'loss_response_bbox', 'loss_isrd', 'loss_fsr'}
    assert losses.keys() == OWN | names
    for name in names:
        assert torch.isfinite(losses[name]) and losses[name].detach() > 0, name
        gradients = torch.autograd.grad(
            losses[name], list(distiller.student.parameters()), retain_graph=True, allow_unused=True
        )
        assert any(g is not None and g.abs().sum() > 0 for g in gradients), name


@pytest.mark.parametrize('pair', ['fine, ratio 2', 'ratio 3/2', 'other widths'])
def test_no_parameter_is_unused(tmp_path, pair):
    """DDP's find_unused_parameters is not needed: every parameter gets a gradient, also from an empty image."""
    distiller = build_distiller(tmp_path, terms=ALL_TERMS, **PAIRS[pair]).train()
    for empty in (False, True):
        distiller.zero_grad()
        batch = toy_pair_batch(distiller.alignment.ratio)
        if empty:
            for sample in batch['data_samples']:
                sample.gt_instances = sample.gt_instances[:0]
        sum(first_losses(distiller, batch).values()).backward()
        assert [name for name, p in distiller.named_parameters() if p.grad is None] == []


def test_terms_are_zero_for_a_student_that_is_its_guide(tmp_path):
    file = tmp_path / 'guide.pth'
    config = unfrozen(toy_retinanet())
    save_weights(config, file)
    distiller = build_distiller(tmp_path, guide=config, student=config, ratio=1, guide_checkpoint=str(file))
    distiller.student.load_state_dict(guide_file(distiller))
    losses = first_losses(distiller.eval())
    for name in ('loss_feature', 'loss_response_cls', 'loss_response_bbox'):
        assert losses[name].item() == 0.0, name
    assert losses['loss_isrd'].item() > 0


def test_the_students_own_loss_is_untouched(distiller):
    batch = toy_pair_batch(2)
    data = distiller.eval().data_preprocessor(batch, True)
    with_terms = distiller(**data, mode='loss')
    alone = distiller.student(data['inputs']['lr'], data['data_samples'], mode='loss')
    assert alone.keys() == OWN
    for name in OWN:
        torch.testing.assert_close(with_terms[name], alone[name], rtol=0, atol=0)


def test_prediction_is_the_students_alone(distiller):
    batch = toy_pair_batch(2)
    data = distiller.eval().data_preprocessor(
        dict(inputs=batch['inputs']['lr'], data_samples=batch['data_samples']), False
    )
    with torch.no_grad():
        ours = distiller(copy.deepcopy(data)['inputs'], copy.deepcopy(data['data_samples']), mode='predict')
        plain = distiller.student(data['inputs'], data['data_samples'], mode='predict')
    for a, b in zip(ours, plain, strict=True):
        assert torch.equal(a.pred_instances.bboxes, b.pred_instances.bboxes)


# --- configs that cannot work ---


def test_different_classes_are_refused(tmp_path):
    with pytest.raises(ConfigError, match='guide tells 2 classes apart, the student 3'):
        build_distiller(tmp_path, student=toy_retinanet(num_classes=3))


@pytest.mark.parametrize('terms', [{}, {'feature': None}])
def test_no_terms_are_refused(tmp_path, terms):
    with pytest.raises(ConfigError, match='terms is empty'):
        build_distiller(tmp_path, terms=terms)


def test_a_term_set_to_none_is_off(tmp_path):
    distiller = build_distiller(tmp_path, terms={**TERMS, 'isrd': None, 'response': None})
    assert first_losses(distiller).keys() == OWN | {'loss_feature'}


def test_two_terms_of_one_name_are_refused(tmp_path):
    distiller = build_distiller(tmp_path, terms=dict(one=dict(type='FeatureTerm'), two=dict(type='FeatureTerm')))
    with pytest.raises(ConfigError, match="terms.two returns 'loss_feature'"):
        first_losses(distiller)


def test_ratio_below_one_is_refused(tmp_path):
    with pytest.raises(ConfigError, match='below 1'):
        build_distiller(tmp_path, ratio=0.5)


def test_it_is_found_from_another_scope(tmp_path):
    from mmdet.registry import MODELS

    with DefaultScope.overwrite_default_scope('mmdet'):
        assert MODELS.get('mmdet.Distiller') is type(build_distiller(tmp_path, init=False))


def test_losses_are_plain_tensors(distiller):
    pickle.dumps({name: float(value) for name, value in first_losses(distiller).items()})
