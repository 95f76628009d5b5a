"""What every term owes."""

from mmpd.errors import ConfigError
from mmpd.terms.base import Term
from tests.toys import build_distiller, first_losses, toy_retinanet, unfrozen

import pytest
import torch


def build(tmp_path, student=None, **terms):
    student = {} if student is None else dict(student=unfrozen(toy_retinanet(**student)))
    return build_distiller(tmp_path, terms=terms, **student)


def test_a_term_scales_with_its_weight(tmp_path):
    plain = first_losses(build(tmp_path, f=dict(type='FeatureTerm')))['loss_feature']
    double = first_losses(build(tmp_path, f=dict(type='FeatureTerm', loss_weight=2.0)))['loss_feature']
    torch.testing.assert_close(double, 2 * plain)


@pytest.mark.parametrize(
    ('term', 'words'),
    [
        (dict(type='FeatureTerm', loss='l7'), "loss = 'l7' is unknown.*pkd"),
        (dict(type='FSRTerm', loss='l7'), "loss = 'l7' is unknown.*'mse', 'pkd'"),
    ],
)
def test_unknown_losses_are_refused(tmp_path, term, words):
    with pytest.raises(ConfigError, match=words):
        build(tmp_path, t=term)


@pytest.mark.parametrize(
    ('term', 'option', 'value', 'wanted'),
    [
        ('ISRDTerm', 'loss_weight', -1, 'at least 0'),
        ('ISRDTerm', 'loss_weight', '0.1', 'a number'),
        ('FeatureTerm', 'loss_weight', float('nan'), 'a number'),
        ('ResponseTerm', 'box_weight', -0.5, 'at least 0'),
        ('ResponseTerm', 'threshold', 5, 'at most 1'),
        ('ResponseTerm', 'temperature', 0, 'above 0'),
    ],
)
def test_numbers_that_no_term_can_have_are_refused(tmp_path, term, option, value, wanted):
    with pytest.raises(ConfigError, match=f'terms.t: {option} = .* of the term {term}: give .*{wanted}'):
        build(tmp_path, t={'type': term, option: value})


def test_options_of_earlier_versions_are_read_where_they_change_nothing(tmp_path):
    """A dumped config may hold them; what they once changed is not ignored."""
    plain = first_losses(build(tmp_path, r=dict(type='ResponseTerm')))
    old = first_losses(build(tmp_path, r=dict(type='ResponseTerm', beta=2.0, localisation=True)))
    assert old['loss_response_bbox'] == plain['loss_response_bbox']
    with pytest.raises(ConfigError, match=r'terms\.r\.beta = 1\.5: the option is gone.*2\.0.*remove it'):
        build(tmp_path, r=dict(type='ResponseTerm', beta=1.5))
    with pytest.raises(ConfigError, match=r'terms\.f\.max_size = 100: the option is gone'):
        build(tmp_path, f=dict(type='FeatureTerm', max_size=100))


def test_an_unfinished_term_says_what_it_owes():
    with pytest.raises(NotImplementedError, match='Term must return its named losses'):
        Term(None)(None)
