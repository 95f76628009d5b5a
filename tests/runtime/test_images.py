"""The runtime's pixels are those of mmdet's pipeline, and its boxes come back to the file's pixels."""

from fractions import Fraction

from mmpd import register  # noqa: F401
from mmpd.data.pair import ReduceResolution
from mmpd.errors import ConfigError, DataError
from mmpd.runtime.description import Description
from mmpd.runtime.images import REDUCTIONS, fit_size, prepare

import cv2
import numpy as np
import pytest
from mmdet.datasets.transforms import Resize
from mmengine.registry import DefaultScope


def description(**changes) -> Description:
    fields = dict(
        name='student', classes=('a', 'b'), size=(64, 48), hr_size=(128, 96), ratio='2', reduction='area',
        score_threshold=0.05, iou_threshold=0.5, max_per_image=10,
    )  # fmt: skip
    return Description(**{**fields, **changes})


def image(width: int, height: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize('size', [(128, 96), (131, 77), (75, 133), (500, 375), (64, 48)])
@pytest.mark.parametrize(('ratio', 'lr'), [('2', (64, 48)), ('3/2', (86, 64))])
def test_hr_pixels_and_scale_are_those_of_the_pipeline(size, ratio, lr) -> None:
    rgb = image(*size)
    ours = prepare(rgb, description(size=lr, ratio=ratio), 'hr')
    with DefaultScope.overwrite_default_scope('mmdet'):
        sample = Resize(scale=(128, 96), keep_ratio=True)(dict(img=rgb, img_shape=rgb.shape[:2]))
        sample = ReduceResolution(ratio)(sample)
    np.testing.assert_array_equal(ours.image, sample['img'])
    assert ours.scale == pytest.approx(sample['scale_factor'])
    assert ours.size == size


@pytest.mark.parametrize('size', [(64, 48), (61, 48), (48, 64), (200, 30), (20, 10)])
def test_lr_pixels_are_those_of_the_pipeline(size) -> None:
    rgb = image(*size)
    ours = prepare(rgb, description(), 'lr')
    sample = Resize(scale=(64, 48), keep_ratio=True)(dict(img=rgb, img_shape=rgb.shape[:2]))
    np.testing.assert_array_equal(ours.image, sample['img'])
    assert ours.scale == pytest.approx(sample['scale_factor'])


@pytest.mark.parametrize('source', ['lr', 'hr', 'auto'])
@pytest.mark.parametrize('size', [(1000, 1), (1, 1000)])
def test_an_image_without_a_pixel_left_is_refused(size, source) -> None:
    with pytest.raises(DataError, match=f'{size[0]}×{size[1]} pixels is too thin'):
        prepare(image(*size), description(), source)


def test_a_native_lr_image_is_not_touched() -> None:
    rgb = image(64, 48)
    np.testing.assert_array_equal(prepare(rgb, description()).image, rgb)


@pytest.mark.parametrize(
    ('size', 'source'), [((64, 48), 'lr'), ((60, 48), 'lr'), ((128, 96), 'hr'), ((100, 80), 'hr'), ((80, 60), 'lr')]
)
def test_auto_takes_the_nearer_size(size, source) -> None:
    assert prepare(image(*size), description()).source == source
    assert prepare(image(*size), description(hr_size=None)).source == 'lr'


@pytest.mark.parametrize('operator', sorted(REDUCTIONS))
def test_one_operator_for_training_and_runtime(operator) -> None:
    rgb = image(128, 96)
    ours = prepare(rgb, description(reduction=operator), 'hr').image
    np.testing.assert_array_equal(ours, ReduceResolution(2, operator)(dict(img=rgb))['img'])


def test_what_the_runtime_cannot_do_is_refused() -> None:
    with pytest.raises(ConfigError, match='own_operator'):
        prepare(image(128, 96), description(reduction='own_operator'), 'hr')
    with pytest.raises(ConfigError, match='HR size'):
        prepare(image(128, 96), description(hr_size=None), 'hr')


def test_fit_size_by_its_definition() -> None:
    """Long side to long side, whichever way the image lies; one side at its limit, the other within."""
    for width in range(10, 300, 7):
        for height in range(10, 300, 11):
            w, h = fit_size((width, height), (64, 48))
            long, short = max(w, h), min(w, h)
            assert long <= 64 and short <= 48 and (long == 64 or short == 48)
            assert abs(Fraction(w, h) - Fraction(width, height)) <= Fraction(width, height) * Fraction(1, min(w, h))


def test_an_exif_orientation_is_followed(tmp_path) -> None:
    from mmpd.runtime.images import read_image

    from PIL import Image

    turned = Image.fromarray(image(40, 20))
    exif = turned.getexif()
    exif[0x0112] = 6  # a quarter turn
    turned.save(tmp_path / 'turned.png', exif=exif)
    assert read_image(tmp_path / 'turned.png').shape == cv2.imread(str(tmp_path / 'turned.png')).shape == (40, 20, 3)
