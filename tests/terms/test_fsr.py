"""The FSR term: levels that both networks have."""

from types import SimpleNamespace

from mmpd.distill.view import Shape
from mmpd.errors import ConfigError
from mmpd.terms.fsr import FSRTerm

import pytest


def test_fsr_without_a_common_level_is_refused():
    alignment = SimpleNamespace(guide_feats=[Shape(8, 8.0)], student_feats=[Shape(8, 6.0)], ratio=2)
    with pytest.raises(ConfigError, match=r'no student stride \[6.0\] is among the guide strides'):
        FSRTerm(alignment)
