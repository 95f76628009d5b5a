"""The ratio, the padding to it and the reduction operator."""

from fractions import Fraction

from mmpd.data.reduction import REDUCTIONS, pad_to_ratio, parse_ratio, reduce_image
from mmpd.errors import ConfigError

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

RATIOS = [Fraction(1), Fraction(3, 2), Fraction(4, 3), Fraction(2), Fraction(3), Fraction(4)]


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def box_weights(n_in: int, n_out: int) -> np.ndarray:
    """(n_out, n_in): share of each input pixel in each output pixel, the definition of the box filter."""
    weights, step = np.zeros((n_out, n_in)), n_in / n_out
    for out in range(n_out):
        for pixel in range(n_in):
            weights[out, pixel] = max(0.0, min((out + 1) * step, pixel + 1) - max(out * step, pixel)) / step
    return weights


@pytest.mark.parametrize(
    ('value', 'expected'),
    [
        (2, Fraction(2)),
        ('3/2', Fraction(3, 2)),
        (1.5, Fraction(3, 2)),
        ('4/3', Fraction(4, 3)),
        ('1', Fraction(1)),
        ('33/32', Fraction(33, 32)),  # a fraction that is written out is meant as written
        (Fraction(40, 39), Fraction(40, 39)),
    ],
)
def test_ratio_is_read_exactly(value, expected):
    assert parse_ratio(value) == expected
    assert parse_ratio(str(parse_ratio(value))) == expected


@pytest.mark.parametrize('value', ['two', None, '1/0', float('nan'), float('inf'), [2]])
def test_what_is_no_ratio_is_refused_by_name(value):
    with pytest.raises(ConfigError, match='ratio = .*no number'):
        parse_ratio(value)


@pytest.mark.parametrize(('value', 'meant'), [(1.3333, '4/3'), (1.37, '11/8')])
def test_a_rounded_ratio_is_not_taken_for_another(value, meant):
    with pytest.raises(ConfigError, match=f"ratio = {value} is no fraction of small numbers: did you mean '{meant}'"):
        parse_ratio(value)


@pytest.mark.parametrize('value', [0.5, 0, -2, '2/3'])
def test_ratio_below_one_is_refused(value):
    with pytest.raises(ConfigError, match='below 1'):
        parse_ratio(value)


@given(st.sampled_from(RATIOS), st.integers(5, 61), st.integers(5, 61))
@settings(max_examples=60, deadline=None)
def test_hr_is_exactly_ratio_times_lr_for_any_size(ratio, height, width):
    image = noise(height, width)
    img_hr = pad_to_ratio(image, ratio)
    img_lr = reduce_image(img_hr, ratio)
    assert img_hr.shape[0] == ratio * img_lr.shape[0] and img_hr.shape[1] == ratio * img_lr.shape[1]
    assert 0 <= img_hr.shape[0] - height < ratio.numerator and 0 <= img_hr.shape[1] - width < ratio.numerator
    assert (img_hr[:height, :width] == image).all()
    assert (img_hr[height:, :width] == image[-1]).all()  # the border is repeated, not black


@pytest.mark.parametrize('ratio', RATIOS[1:], ids=str)
def test_area_is_the_box_filter(ratio):
    image = noise(24, 36)
    rows, columns = (box_weights(side, int(side / ratio)) for side in image.shape[:2])
    expected = np.einsum('yh,hwc,xw->yxc', rows, image.astype(float), columns)
    assert np.abs(reduce_image(image, ratio) - expected).max() <= 1.0  # rounding to uint8


def test_ratio_one_changes_nothing():
    image = noise(7, 9)
    assert reduce_image(image, Fraction(1)) is image
    assert pad_to_ratio(image, Fraction(1)) is image


@pytest.mark.parametrize('operator', sorted(REDUCTIONS.module_dict))
def test_every_operator_keeps_a_flat_image_flat(operator):
    flat = np.full((12, 24, 3), 77, np.uint8)
    reduced = reduce_image(flat, Fraction(3), operator)
    assert reduced.shape == (4, 8, 3) and reduced.dtype == np.uint8 and (reduced == 77).all()


def test_an_unpadded_image_is_refused_with_its_size():
    with pytest.raises(ConfigError, match='11x10 is no multiple of 3'):
        reduce_image(noise(10, 11), Fraction(3, 2))


def test_unknown_operator_is_refused_with_the_known_ones():
    with pytest.raises(ConfigError, match="'cubic' is unknown.*'area'"):
        reduce_image(noise(4, 4), Fraction(2), 'cubic')


@pytest.mark.parametrize('operator', sorted(REDUCTIONS.module_dict))
def test_float_images_are_reduced_as_the_same_images_of_bytes(operator):
    """PhotoMetricDistortion gives float32."""
    image = np.random.default_rng(0).integers(40, 200, (24, 36, 3), dtype=np.uint8)
    small = reduce_image(image.astype(np.float32), Fraction(3), operator)
    assert small.dtype == np.float32 and small.shape == (8, 12, 3)
    np.testing.assert_allclose(small, reduce_image(image, Fraction(3), operator), atol=1.01)
