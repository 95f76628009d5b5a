"""Any folder of images: what is used, counted, refused; aligned patches."""

import random
from fractions import Fraction
from pathlib import Path

from mmpd.data.reduction import reduce_image
from mmpd.data.seeding import SeededDataset
from mmpd.errors import ConfigError, DataError
from mmpd.sr.data import AlignedPair, FlipTranspose, PackSRInputs, SRFolder
from tests.sr.toys import write_images

import cv2
import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope
from PIL import Image


@pytest.fixture(autouse=True)
def mmdet_scope():
    with DefaultScope.overwrite_default_scope('mmdet'):
        yield


def patch_pipeline(side: int = 16) -> list[dict]:
    return [
        dict(type='LoadImageFromFile'),
        dict(type='FlipTranspose'),
        dict(type='AlignedPair', ratio=2, patch=(side, side)),
        dict(type='PackSRInputs'),
    ]


def dirty_folder(root: Path) -> Path:
    """Two good colour images, a gray one, and one of each kind of dirt."""
    write_images(root, [(40, 32), (33, 47), (12, 40)])
    rng = np.random.default_rng(0)
    cv2.imwrite(str(root / 'gray.png'), rng.integers(0, 256, (30, 30), dtype=np.uint8))
    cv2.imwrite(str(root / 'alpha.png'), rng.integers(0, 256, (30, 30, 4), dtype=np.uint8))
    cv2.imwrite(str(root / 'deep.png'), rng.integers(0, 2**16, (30, 30, 3), dtype=np.uint16))
    cv2.imwrite(str(root / 'deep_gray.png'), rng.integers(0, 2**16, (30, 30), dtype=np.uint16))
    palette = Image.fromarray(rng.integers(0, 256, (30, 30, 3), dtype=np.uint8)).quantize(8)
    palette.save(root / 'clear.png', transparency=0)  # one transparent colour: the mode stays 'P'
    (root / 'notes.txt').write_text('no image')
    (root / 'broken.png').write_bytes((root / '000.png').read_bytes()[:200])
    return root


def test_a_training_folder_counts_what_it_leaves_out(tmp_path: Path):
    dataset = SRFolder(str(dirty_folder(tmp_path)), pipeline=patch_pipeline())
    assert sorted(Path(dataset.get_data_info(i)['img_path']).name for i in range(len(dataset))) == [
        '000.png',
        '001.png',
        'gray.png',
    ]
    dropped = {reason: sorted(names) for reason, names in dataset.report.dropped.items()}
    assert dropped == {
        'no image file': ['notes.txt'],
        'unreadable': ['broken.png'],
        'transparency': ['alpha.png', 'clear.png'],
        'more than 8 bits a channel': ['deep.png', 'deep_gray.png'],
        'a side shorter than 16 pixels': ['002.png'],
    }
    assert list(dataset.report.changed.values()) == [['gray.png']]
    assert '3 images' in dataset.report.summary() and 'boxes' not in dataset.report.summary()


@pytest.mark.parametrize('name', ['alpha.png', 'clear.png', 'deep.png', 'deep_gray.png', 'broken.png'])
def test_a_test_folder_refuses_what_it_cannot_measure(tmp_path: Path, name: str):
    root = dirty_folder(tmp_path)
    for path in root.iterdir():
        if path.name not in (name, '000.png', 'notes.txt', 'gray.png'):
            path.unlink()
    with pytest.raises(DataError, match=name):
        SRFolder(str(root), test_mode=True, pipeline=[dict(type='LoadImageFromFile')])


def test_a_gray_image_has_three_equal_channels(tmp_path: Path):
    root = dirty_folder(tmp_path)
    pipeline = [dict(type='LoadImageFromFile'), dict(type='AlignedPair', ratio=2), dict(type='PackSRInputs')]
    dataset = SRFolder(str(root), pipeline=pipeline)
    image = next(
        s['inputs'] for s in map(dataset.__getitem__, range(4)) if s['data_samples'].img_path[-8:] == 'gray.png'
    )
    assert image.shape == (3, 15, 15) and torch.equal(image[0], image[1]) and torch.equal(image[0], image[2])


def test_a_folder_without_images_and_no_folder_are_named(tmp_path: Path):
    (tmp_path / 'notes.txt').write_text('no image')
    with pytest.raises(DataError, match='no image that could be used'):
        SRFolder(str(tmp_path), pipeline=[])
    with pytest.raises(DataError, match='no such folder'):
        SRFolder(str(tmp_path / 'absent'), pipeline=[])
    with pytest.raises(ConfigError, match='repeat = 0'):
        SRFolder(str(tmp_path), repeat=0)


def test_a_split_and_repetitions_follow_the_order_of_names(tmp_path: Path):
    write_images(tmp_path, [(20, 20)] * 5)
    first, rest = (SRFolder(str(tmp_path), split=split, repeat=2, pipeline=[]) for split in ((0, 2), (2, 5)))
    names = [[Path(d.get_data_info(i)['img_path']).stem for i in range(len(d))] for d in (first, rest)]
    assert names == [['000', '001'] * 2, ['002', '003', '004'] * 2]


def test_sets_that_end_in_the_same_folder_are_told_apart(tmp_path: Path):
    for name in ('Set5/HR', 'Set14/HR'):
        write_images(tmp_path / name, [(20, 20)])
    dataset = SRFolder(str(tmp_path), sets=('Set5/HR', 'Set14/HR'), test_mode=True, pipeline=[])
    assert [dataset.get_data_info(i)['img_set'] for i in range(2)] == ['Set5_HR', 'Set14_HR']


def test_a_sample_is_a_function_of_seed_epoch_and_index(tmp_path: Path):
    write_images(tmp_path, [(40, 40)])
    dataset = SeededDataset(SRFolder(str(tmp_path), repeat=3, pipeline=patch_pipeline()))
    assert torch.equal(dataset[0]['inputs'], dataset[0]['inputs'])
    assert not torch.equal(dataset[0]['inputs'], dataset[1]['inputs'])
    before = dataset[0]['inputs']
    dataset.epoch = 1
    assert not torch.equal(dataset[0]['inputs'], before)


@pytest.mark.parametrize(
    'operator', ['bicubic', 'area', 'lanczos', 'bilinear', 'blur:3+bicubic', 'area+bayer', 'area+noise:5+jpeg:60']
)
@pytest.mark.parametrize('ratio', [2, 3, 4])
def test_a_patch_is_that_of_the_whole_images_lr_image(operator: str, ratio: int):
    rng = np.random.default_rng(1)
    image = rng.integers(0, 256, (67, 74, 3), dtype=np.uint8)
    whole = AlignedPair(ratio, operator)(dict(img=image))
    assert whole['gt_img'].shape == (67 // ratio * ratio, 74 // ratio * ratio, 3)
    np.testing.assert_array_equal(whole['img'], reduce_image(whole['gt_img'], Fraction(ratio), operator))
    patch = AlignedPair(ratio, operator, patch=(6 * ratio, 5 * ratio))
    for seed in range(20):
        random.seed(seed)
        sample = patch(dict(img=image))
        hr, lr = sample['gt_img'], sample['img']
        assert lr.shape == (5, 6, 3) and hr.shape == (5 * ratio, 6 * ratio, 3)
        places = [
            (row, column)
            for row in range(67 // ratio - 4)
            for column in range(74 // ratio - 5)
            if np.array_equal(whole['gt_img'][row * ratio :, column * ratio :][: 5 * ratio, : 6 * ratio], hr)
        ]
        assert len(places) == 1
        row, column = places[0]
        np.testing.assert_array_equal(lr, whole['img'][row : row + 5, column : column + 6])


def test_an_image_below_the_patch_is_named():
    with pytest.raises(DataError, match='smaller than the HR patch'):
        AlignedPair(2, patch=(32, 32))(dict(img=np.zeros((20, 40, 3), np.uint8)))


def test_flips_and_transpose_reach_the_eight_positions():
    image = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    random.seed(0)
    seen = {FlipTranspose()(dict(img=image))['img'].tobytes() for _ in range(200)}
    expected = {np.rot90(turned, k).tobytes() for turned in (image, image[:, ::-1]) for k in range(4)}
    assert seen == expected


def test_both_networks_of_a_pair_get_the_lr_image():
    packed = PackSRInputs(paired=True)(dict(img=np.ones((4, 5, 3), np.uint8), gt_img=np.zeros((8, 10, 3), np.uint8)))
    assert torch.equal(packed['inputs']['lr'], packed['inputs']['hr'])
    assert packed['data_samples'].gt_img.shape == (3, 8, 10)
