"""A second camera: its LR files move as the HR image does, and are refused where they do not belong to it."""

from fractions import Fraction

from mmpd.chain.chain import read_chain
from mmpd.chain.stage_config import stage_config
from mmpd.data.pair import ReduceResolution
from mmpd.data.reduction import reduce_image
from mmpd.data.second_camera import check_augment, lr_file, replay
from mmpd.errors import ConfigError, DataError
from tests.toys import toy_chain

import cv2
import numpy as np
import pytest
from mmcv.transforms import Compose
from mmengine.registry import DefaultScope


def smooth(height: int = 96, width: int = 128) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width]
    waves = [120 + 80 * np.sin(rows / (9 + k)) * np.cos(columns / (12 + k)) for k in range(3)]
    return np.stack(waves, axis=2).astype(np.uint8)


def pair(folder, image: np.ndarray, ratio: int = 2) -> str:
    """An HR file, and what an ideal second camera saw."""
    for name, pixels in (('hr', image), ('lr', reduce_image(image, Fraction(ratio), 'area'))):
        (folder / name).mkdir(exist_ok=True)
        cv2.imwrite(str(folder / name / 'a.png'), pixels)
    return str(folder / 'hr' / 'a.png')


def run(path: str, image: np.ndarray, *transforms: dict, **kwargs) -> dict:
    with DefaultScope.overwrite_default_scope('mmdet'):
        pipeline = Compose([dict(type='LoadImageFromFile'), *transforms])
        results = pipeline(dict(img_path=path, img_id=0))
    return ReduceResolution(2, **kwargs)(results)


@pytest.mark.parametrize(
    'transforms',
    [
        [],
        [dict(type='RandomFlip', prob=1.0, direction='horizontal')],
        [dict(type='RandomFlip', prob=1.0, direction='vertical')],
        [dict(type='RandomFlip', prob=1.0, direction='diagonal')],
    ],
    ids=['as it is', 'horizontal', 'vertical', 'diagonal'],
)
def test_an_ideal_second_camera_gives_the_reduced_image_bit_for_bit(tmp_path, transforms):
    path = pair(tmp_path, smooth())
    reduced = run(path, smooth(), *transforms)
    replayed = run(path, smooth(), *transforms, lr_prefix='../lr')
    assert (reduced['img'] == replayed['img']).all()
    assert reduced['scale_factor'] == replayed['scale_factor']


@pytest.mark.parametrize(
    'transforms',
    [
        [dict(type='Resize', scale=(64, 48), keep_ratio=True)],
        [dict(type='Resize', scale=(160, 120), keep_ratio=True)],
        [dict(type='RandomCrop', crop_size=(61, 83), allow_negative_crop=True)],
        [
            dict(type='Resize', scale=(100, 75), keep_ratio=True),
            dict(type='RandomFlip', prob=1.0),
            dict(type='RandomCrop', crop_size=(50, 60), allow_negative_crop=True),
        ],
    ],
    ids=['smaller', 'larger', 'crop', 'all'],
)
def test_it_moves_with_the_hr_image_to_a_fraction_of_a_pixel(tmp_path, transforms):
    """On a smooth image, an error of a pixel would be an error of ten grey levels."""
    path = pair(tmp_path, smooth())
    for seed in range(5):
        images = []
        for kwargs in ({}, dict(lr_prefix='../lr')):
            np.random.seed(seed)
            images.append(run(path, smooth(), *transforms, **kwargs)['img'].astype(float))
        assert images[0].shape == images[1].shape
        inner = np.abs(images[0] - images[1])[1:-1, 1:-1]
        assert inner.mean() < 2.5, (seed, inner.mean())


def test_the_wrong_size_is_refused_with_both(tmp_path):
    path = pair(tmp_path, smooth(), ratio=4)
    with pytest.raises(DataError, match=r'a.png: the HR file has 128×96 .* LR file 32×24.*ratio = 2 .* 64×48'):
        run(path, smooth(), lr_prefix='../lr')


def test_an_odd_size_is_rounded_up():
    hr, ratio = (97, 131), Fraction(3, 2)
    image = np.zeros((65, 88, 3), np.uint8)
    assert replay(image, None, ratio, hr, (88, 66)).shape == (66, 88, 3)


def test_a_missing_file_is_named(tmp_path):
    path = pair(tmp_path, smooth())
    assert lr_file(path, '../lr').name == 'a.png'
    with pytest.raises(DataError, match='other'):
        lr_file(path, '../other')


def test_transforms_that_keep_no_matrix_are_refused():
    check_augment(
        [dict(type='RandomApply', transforms=[[dict(type='RandomCrop')]]), dict(type='PhotoMetricDistortion')]
    )
    with pytest.raises(ConfigError, match='CachedMosaic, Expand in data.augment'):
        check_augment([dict(type='mmdet.Expand'), dict(type='RandomApply', transforms=[dict(type='CachedMosaic')])])


def test_a_chain_hands_it_to_training_and_testing_of_lr_stages_alone(tmp_path):
    chain = read_chain(toy_chain(tmp_path, **{'data.lr_prefix': '../lr'}))
    for name, stage in chain.stages.items():
        config = stage_config(stage, 'work', {})
        for loader in (config.train_dataloader, config.test_dataloader):
            step = next(step for step in loader.dataset.pipeline if step['type'] == 'ReduceResolution')
            assert step['lr_prefix'] == '../lr' and (name == 'student') == (step['ratio'] != '1')
    chain.config.data.augment = [dict(type='Expand')]
    with pytest.raises(ConfigError, match='Expand'):
        stage_config(read_chain(chain.config).stages['student'], 'work', {})
