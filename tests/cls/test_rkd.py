"""RKD's terms on classifiers: CNN and transformer pairs."""

from mmpd.losses.kd import kd_loss, kd_rows
from mmpd.losses.resolution import FLOOR, class_divergence
from tests.cls.toy_classifiers import build_distiller, pair_batch, step, toy_cnn, toy_vit

import pytest
import torch

RKD = dict(
    adversarial=dict(type='mmdet.AdversarialTerm'),
    resolution=dict(type='mmdet.ResolutionKDTerm'),
    pairwise=dict(type='mmdet.PairwiseTerm'),
    mmd=dict(type='mmdet.MMDTerm'),
)
NAMES = {'loss_adversarial', 'loss_resolution', 'loss_pairwise', 'loss_mmd'}
PAIRS = {
    'cnn → cnn': (toy_cnn(), toy_cnn(), 2),
    'cnn → vit': (toy_cnn(), toy_vit(16), 2),
    'vit → narrow cnn': (toy_vit(32), toy_cnn(6), 2),
    'ratio 4': (toy_cnn(), toy_cnn(), 4),
}


@pytest.mark.parametrize('pair', PAIRS)
def test_every_term_trains_and_leaves_no_parameter_out(tmp_path, pair):
    guide, student, ratio = PAIRS[pair]
    distiller = build_distiller(tmp_path, guide, student, ratio, **RKD).train()
    losses = step(distiller, pair_batch(ratio))
    assert losses.keys() > NAMES and 'adversarial_accuracy' in losses
    for name in NAMES:
        assert losses[name].isfinite() and (losses[name].detach() > 0 or name == 'loss_mmd'), name
    distiller.parse_losses(losses)[0].backward()
    assert [name for name, p in distiller.named_parameters() if p.grad is None] == []
    assert not any(key.startswith(('terms', 'discriminator')) for key in distiller.student.state_dict())


def test_switched_off_it_is_kd(tmp_path):
    plain = step(build_distiller(tmp_path, toy_cnn(), toy_cnn(), 2, t=dict(type='mmdet.KDTerm')), pair_batch())
    off = dict(type='mmdet.ResolutionKDTerm', aware=False)
    losses = step(build_distiller(tmp_path, toy_cnn(), toy_cnn(), 2, t=off), pair_batch())
    torch.testing.assert_close(losses['loss_resolution'], plain['loss_kd'])
    torch.testing.assert_close(losses['loss'], plain['loss'])  # both leave 0.1 of the CE


def test_an_image_counts_by_what_resolution_costs_the_guide(tmp_path):
    """Against the definition, with the guide run by hand; an image without detail is the same at any resolution."""
    distiller = build_distiller(tmp_path, toy_cnn(), toy_cnn(), 2, t=RKD['resolution']).eval()
    batch = pair_batch()
    for key in ('lr', 'hr'):
        batch['inputs'][key][0][:] = 90
    seen = []
    weigh = type(distiller.terms['t']).resolution_weights
    distiller.terms['t'].resolution_weights = (
        lambda of: seen.append((of, weigh(distiller.terms['t'], of))) or seen[-1][1]
    )
    loss = step(distiller, batch)['loss_resolution']
    of, weights = seen[0]
    assert weights[0] < weights[1:].min() and float(weights.mean()) == pytest.approx(1.0, rel=1e-5)
    lr = torch.nn.functional.interpolate(of.images_lr, size=(32, 32), mode='bilinear')
    with torch.no_grad():
        cost = (
            class_divergence(distiller.guide(of.images_hr, mode='tensor'), distiller.guide(lr, mode='tensor')) + FLOOR
        )
    assert float(cost[0]) == pytest.approx(FLOOR)
    torch.testing.assert_close(weights, cost / cost.mean(), rtol=1e-3, atol=1e-3)
    rows = kd_rows(of.student['head'], of.guide['head'])
    torch.testing.assert_close(loss, 0.9 * (weights * rows).mean())


def test_rows_of_kd_have_kd_as_their_mean():
    student, guide = torch.randn(4, 3), torch.randn(4, 3)
    torch.testing.assert_close(kd_rows(student, guide).mean(), kd_loss(student, guide))
