"""The ISRD term: the decoder of the pair."""

from tests.toys import build_distiller, toy_retinanet, unfrozen

import pytest


@pytest.mark.parametrize(('ratio', 'scale'), [(1, 2), ('4/3', 3), ('3/2', 3), (2, 4), (3, 6), (4, 8)])
def test_the_isrd_decoder_fits_the_pairs_ratio(tmp_path, ratio, scale):
    terms = dict(isrd=dict(type='ISRDTerm'))
    distiller = build_distiller(tmp_path, init=False, student=unfrozen(toy_retinanet()), ratio=ratio, terms=terms)
    assert distiller.terms['isrd'].decoder.scale == scale
