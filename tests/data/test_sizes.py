"""The size of an LR image, against what the reduction really makes, and through the deploy config's own Resize."""

from fractions import Fraction

from mmpd.chain.stage import Stage
from mmpd.data.pair import ReduceResolution
from mmpd.data.sizes import lr_size
from mmpd.det.task import DetectionTask

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mmdet.datasets.transforms import Resize
from mmengine.config import Config

RATIOS = st.sampled_from(['1', '2', '4', '3', '3/2', '4/3', '5/2', '19/10'])
SIDES = st.integers(16, 400)


def student(ratio: str, hr_scale: tuple[int, int]) -> Stage:
    config = Config(dict(data=dict(hr_scale=hr_scale)))
    return Stage('student', config, config, DetectionTask(), Fraction(ratio))


def test_sizes_by_hand():
    assert lr_size((1000, 600), Fraction(3, 2)) == (668, 400)
    assert lr_size((1000, 600), Fraction(2)) == (500, 300)
    assert lr_size((333, 501), Fraction(4, 3)) == (252, 378)


@settings(max_examples=200, deadline=None)
@given(ratio=RATIOS, hr_scale=st.tuples(SIDES, SIDES), size=st.tuples(SIDES, SIDES))
def test_native_lr_images_pass_the_deploy_config_unchanged(ratio, hr_scale, size):
    """A camera that gives what training saw: any image, resized into hr_scale and reduced."""
    stage = student(ratio, hr_scale)
    image = Resize(scale=hr_scale, keep_ratio=True)(dict(img=np.zeros((*size, 3), np.uint8)))
    if min(image['img'].shape[:2]) < 1:
        return
    native = ReduceResolution(ratio)(image)['img']
    (resize,) = (step for step in stage.task.deploy_pipeline(stage) if step['type'] == 'Resize')
    again = Resize(scale=resize['scale'], keep_ratio=resize['keep_ratio'])(dict(img=native))
    assert again['img'].shape == native.shape and again['scale_factor'] == (1, 1)


@settings(max_examples=100, deadline=None)
@given(ratio=RATIOS, size=st.tuples(SIDES, SIDES))
def test_the_size_is_what_the_reduction_makes(ratio, size):
    image = ReduceResolution(ratio)(dict(img=np.zeros((size[1], size[0], 3), np.uint8)))['img']
    assert lr_size(size, Fraction(ratio)) == (image.shape[1], image.shape[0])


@pytest.mark.parametrize('ratio', ['3/2', '4/3', '3'])
def test_the_cost_is_counted_at_that_size(ratio):
    assert student(ratio, (1000, 600)).image_size == lr_size((1000, 600), Fraction(ratio))


def test_a_file_of_the_few_pixels_of_coarse_becomes_the_image_of_the_training():
    """A camera of 20x15 pixels, a grid of 40x30: the deploy config enlarges as the training did."""
    hr = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    seen = ReduceResolution('2', operator='area+coarse:2')(dict(img=hr))['img']
    camera = cv2.resize(cv2.resize(hr, (40, 30), interpolation=cv2.INTER_AREA), (20, 15), interpolation=cv2.INTER_AREA)
    stage = student('2', (80, 60))
    (resize,) = (step for step in stage.task.deploy_pipeline(stage) if step['type'] == 'Resize')
    assert (Resize(scale=resize['scale'], keep_ratio=resize['keep_ratio'])(dict(img=camera))['img'] == seen).all()
