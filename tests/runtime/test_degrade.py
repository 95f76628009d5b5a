"""Degradations: what each does to pixels, in the order in which they are written, alike in training and test."""

from fractions import Fraction

from mmpd.data.reduction import operator_of, reduce_image
from mmpd.errors import ConfigError
from mmpd.runtime.degrade import STEPS, bayer, blur, coarse, jpeg, noise, webp
from mmpd.runtime.description import Description
from mmpd.runtime.images import REDUCTIONS, prepare, reduce_hr

import cv2
import numpy as np
import pytest


def picture(height: int = 32, width: int = 48) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width]
    waves = [120 + 80 * np.sin(rows / 5 + k) * np.cos(columns / (4 + k)) for k in range(3)]
    return np.stack(waves, axis=2).astype(np.uint8)


def description() -> Description:
    return Description(
        name='student', classes=('a',), size=(48, 32), hr_size=None, ratio='2', reduction='area+coarse:2',
        score_threshold=0.05, iou_threshold=0.5, max_per_image=10,
    )  # fmt: skip


def error(image: np.ndarray, other: np.ndarray) -> float:
    return float(np.abs(image.astype(float) - other).mean())


@pytest.mark.parametrize('code', [jpeg, webp])
def test_a_lower_quality_is_further_off(code):
    errors = [error(code(picture(), quality), picture()) for quality in (100, 60, 20, 2)]
    assert errors == sorted(errors) and errors[0] < 2 < errors[-1]


def test_jpeg_is_cv2s():
    encoded = cv2.imencode('.jpg', picture(), [cv2.IMWRITE_JPEG_QUALITY, 40])[1]
    assert (jpeg(picture(), 40) == cv2.imdecode(encoded, cv2.IMREAD_COLOR)).all()


def test_noise_has_its_deviation_and_is_a_function_of_the_pixels():
    grey = np.full((200, 200, 3), 128, np.uint8)
    assert (noise(grey, 5) == noise(grey, 5)).all()
    assert np.std(noise(grey, 5).astype(float)) == pytest.approx(5, rel=0.02)
    other = grey.copy()
    other[0, 0] = 129
    assert error(noise(grey, 5), noise(other, 5)) > 3


def test_blur_keeps_the_mean_and_takes_the_contrast():
    assert blur(picture(), 2).mean() == pytest.approx(picture().mean(), abs=1)
    assert blur(picture(), 2).std() < picture().std()


def test_bayer_keeps_plain_colours_and_errs_at_edges():
    plain = np.empty((16, 16, 3), np.uint8)
    plain[:] = (30, 120, 220)
    assert error(bayer(plain, 0)[2:-2, 2:-2], plain[2:-2, 2:-2]) == 0  # each channel in its own place
    assert error(bayer(picture(), 0), picture()) > 0.5


def test_coarse_is_what_a_native_image_of_fewer_pixels_becomes_on_the_same_grid():
    """A file of the few pixels, brought to size as `mmpd infer` does, is the image of the training."""
    few = cv2.resize(picture(), (24, 16), interpolation=cv2.INTER_AREA)
    shown = prepare(few, description(), source='lr')
    assert (shown.image == coarse(picture(), 2)).all()
    assert (coarse(picture(), 1) == picture()).all()
    blocks = np.kron(few.astype(float).mean(axis=2), np.ones((2, 2)))
    assert error(coarse(picture(), 2).mean(axis=2), blocks) < 8  # nothing finer than 2x2 pixels is left


@pytest.mark.parametrize('name', sorted(STEPS))
@pytest.mark.parametrize('dtype', [np.uint8, np.float32])
def test_type_and_shape_stay(name, dtype):
    step, limits = STEPS[name]
    changed = step(picture().astype(dtype), limits[0] if limits else 0)
    assert changed.dtype == dtype and changed.shape == picture().shape


def test_steps_run_in_the_order_in_which_they_are_written():
    size = (24, 16)
    before, after = operator_of('blur:3+area'), operator_of('area+blur:3')
    assert (before(picture(), size) == cv2.resize(blur(picture(), 3), size, interpolation=cv2.INTER_AREA)).all()
    assert (after(picture(), size) == blur(cv2.resize(picture(), size, interpolation=cv2.INTER_AREA), 3)).all()


@pytest.mark.parametrize('reduction', ['area', 'blur:0.7+area+noise:3+jpeg:60', 'bayer + lanczos + webp:50'])
def test_a_student_is_tested_on_the_pixels_that_it_was_trained_on(reduction):
    """The training's reduction and that of the runtime without torch."""
    trained = reduce_image(picture(), Fraction(2), reduction)
    assert trained.shape == (16, 24, 3) and (trained == reduce_hr(picture(), Fraction(2), reduction)).all()
    assert (reduce_image(picture(), Fraction(1), reduction) == picture()).all()  # HR images stay what they are


@pytest.mark.parametrize(
    ('reduction', 'says'),
    [
        ('blurr:1+area', "'blurr' is unknown.*blur"),
        ('jpeg:60', 'exactly one step'),
        ('area+area', 'exactly one step'),
        ('area+jpeg', 'jpeg:. needs a number from 1 to 100'),
        ('area+jpeg:101', 'jpeg:101 needs a number from 1 to 100'),
        ('area+noise:nan', 'needs a number'),
        ('area+bayer:2', 'takes no number'),
        ('', 'is unknown'),
    ],
)
def test_what_cannot_be_is_named(reduction, says):
    with pytest.raises(ConfigError, match=says):
        operator_of(reduction)
    assert 'area' in REDUCTIONS
