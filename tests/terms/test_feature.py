"""The feature term: losses by name, adapters, levels that count."""

from tests.toys import build_distiller, first_losses, toy_retinanet, unfrozen

import pytest


def build(tmp_path, student=None, **terms):
    student = {} if student is None else dict(student=unfrozen(toy_retinanet(**student)))
    return build_distiller(tmp_path, terms=terms, **student)


@pytest.mark.parametrize('loss', ['pkd', 'mse'])
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
