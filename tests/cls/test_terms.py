"""Every classification term on CNN and transformer pairs: positive, reaching the student, zero where both are equal."""

from pathlib import Path

from mmpd.errors import ConfigError
from mmpd.losses.kd import kd_loss
from tests.cls.toy_classifiers import build_distiller, pair_batch, step, toy_cnn, toy_vit

import pytest
import torch

TERMS = {
    'loss_kd': dict(type='mmdet.KDTerm'),
    'loss_dkd': dict(type='mmdet.DKDTerm'),
    'loss_at': dict(type='mmdet.AttentionTerm', student_stage=0),
    'loss_sp': dict(type='mmdet.SimilarityTerm'),
    'loss_ickd': dict(type='mmdet.ICKDTerm', student_stage=0),
    'loss_imitation': dict(type='mmdet.ImitationTerm'),
    'loss_isrd': dict(type='mmdet.ISRDTerm'),
    'loss_fsr': dict(type='mmdet.FSRTerm'),
}
PAIRS = {
    'cnn-cnn': (toy_cnn(6), toy_cnn(), 2),
    'cnn-vit': (toy_cnn(), toy_vit(16), 2),
    'vit-cnn': (toy_vit(32), toy_cnn(), 2),
    'vit-vit': (toy_vit(32), toy_vit(16), 2),
    'same size': (toy_cnn(6), toy_cnn(), 1),
}


@pytest.mark.parametrize('pair', PAIRS)
def test_every_term_is_positive_and_reaches_the_student(tmp_path: Path, pair: str):
    guide, student, ratio = PAIRS[pair]
    distiller = build_distiller(tmp_path, guide, student, ratio, **TERMS)
    losses = step(distiller, pair_batch(ratio))
    for name in TERMS:
        assert losses[name] > 0 and losses[name].isfinite(), name
        distiller.zero_grad()
        losses[name].backward(retain_graph=True)
        assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in distiller.student.parameters()), name
    assert all(parameter.grad is None for parameter in distiller.guide.parameters())


@pytest.mark.parametrize('network', [toy_cnn(), toy_vit(32)], ids=['cnn', 'vit'])
def test_terms_vanish_where_student_and_guide_are_the_same_network(tmp_path: Path, network: dict):
    compared = {name: cfg for name, cfg in TERMS.items() if name not in ('loss_isrd', 'loss_fsr')}
    distiller = build_distiller(tmp_path, network, network, 1, **compared)
    distiller.student.load_state_dict(distiller.guide.state_dict())
    losses = step(distiller.eval(), pair_batch(1))
    assert {name: pytest.approx(0, abs=1e-5) for name in compared} == {name: losses[name].item() for name in compared}


def test_kd_takes_alpha_of_the_loss_and_leaves_the_rest_to_the_students_own(tmp_path: Path):
    """L = 0.1·CE + 0.9·T²·KL with T = 4, from the logits."""
    distiller = build_distiller(tmp_path, toy_cnn(6), toy_cnn(), 2, kd=dict(type='mmdet.KDTerm')).eval()
    data = distiller.data_preprocessor(pair_batch(2), True)
    losses = distiller(**data, mode='loss')
    student, guide = distiller.student(data['inputs']['lr']), distiller.guide(data['inputs']['hr'])
    labels = torch.tensor([0, 1, 2, 0])
    torch.testing.assert_close(losses['loss'], 0.1 * torch.nn.functional.cross_entropy(student, labels))
    torch.testing.assert_close(losses['loss_kd'], 0.9 * kd_loss(student, guide, 4.0))


def test_without_kd_the_students_own_loss_stays_whole(tmp_path: Path):
    distiller = build_distiller(tmp_path, toy_cnn(), toy_cnn(), 2, dkd=dict(type='mmdet.DKDTerm')).eval()
    data = distiller.data_preprocessor(pair_batch(2), True)
    plain = distiller.student.loss(data['inputs']['lr'], data['data_samples'])['loss']
    torch.testing.assert_close(distiller(**data, mode='loss')['loss'], plain)


def test_checkpoints_hold_the_adapters_beside_the_student_and_no_guide(tmp_path: Path):
    distiller = build_distiller(tmp_path, toy_cnn(6), toy_cnn(), 2, fit=TERMS['loss_imitation'])
    keys = set(distiller.state_dict())
    assert {key for key in keys if not key.startswith('student.')} == {
        'terms.fit.adapter.weight',
        'terms.fit.adapter.bias',
    }


@pytest.mark.parametrize(
    ('term', 'message'),
    [
        (dict(type='mmdet.KDTerm', alpha=1.5), 'alpha = 1.5'),
        (dict(type='mmdet.ICKDTerm', student_stage=4), 'student_stage = 4'),
        (dict(type='mmdet.ICKDTerm', guide_stage=-5), 'guide_stage = -5'),
    ],
)
def test_wrong_settings_are_named_when_built(tmp_path: Path, term: dict, message: str):
    with pytest.raises(ConfigError, match=message):
        build_distiller(tmp_path, toy_cnn(), toy_cnn(), 2, term=term)


def test_attention_of_a_single_cell_is_refused(tmp_path: Path):
    distiller = build_distiller(tmp_path, toy_cnn(), toy_cnn(), 2, at=dict(type='mmdet.AttentionTerm'))
    with pytest.raises(ConfigError, match='one cell is constant'):
        step(distiller, pair_batch(2))
