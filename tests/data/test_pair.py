"""One augmented sample, two sizes: whatever happened to the sample before, HR is ratio × LR and the boxes follow."""

from fractions import Fraction

from mmpd.data.pair import META_KEYS, PackPairedInputs, ReduceResolution
from mmpd.data.reduction import reduce_image

import numpy as np
import pytest
from mmcv.transforms import Compose
from mmdet.structures.bbox import HorizontalBoxes
from mmengine.registry import DefaultScope


def sample(height: int = 33, width: int = 47) -> dict:
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    return dict(
        img=image,
        img_id=1,
        img_path='a.png',
        ori_shape=(height, width),
        img_shape=(height, width),
        gt_bboxes=HorizontalBoxes([[3.0, 6.0, 21.0, 30.0]]),
        gt_bboxes_labels=np.array([0]),
        gt_ignore_flags=np.array([False]),
    )


def compose(*transforms: dict) -> Compose:
    with DefaultScope.overwrite_default_scope('mmdet'):
        return Compose(list(transforms))


@pytest.mark.parametrize('ratio', ['1', '3/2', '4/3', '2', '3', '4'])
def test_boxes_and_sizes_follow_the_ratio(ratio):
    out = ReduceResolution(ratio, keep_hr=True)(sample())
    exact = Fraction(ratio)
    assert out['img_hr'].shape[0] == exact * out['img'].shape[0]
    assert out['img_hr'].shape[1] == exact * out['img'].shape[1]
    assert out['img_shape'] == out['img'].shape[:2]
    np.testing.assert_allclose(
        out['gt_bboxes'].tensor.numpy(), np.array([[3.0, 6.0, 21.0, 30.0]]) / float(exact), rtol=1e-6
    )


def test_scale_factor_is_multiplied_so_boxes_go_back_to_original_pixels():
    with_resize = compose(
        dict(type='Resize', scale=(96, 66), keep_ratio=True), dict(type='ReduceResolution', ratio='3/2')
    )
    original = sample()['gt_bboxes'].tensor.numpy()
    out = with_resize(sample())
    factor = np.array(out['scale_factor'] * 2)
    np.testing.assert_allclose(out['gt_bboxes'].tensor.numpy() / factor, original, rtol=1e-5)
    np.testing.assert_allclose(np.array(out['hr_scale_factor']) / 1.5, out['scale_factor'])


def test_lr_image_is_the_reduced_hr_image_after_any_augmentation():
    pipeline = compose(
        dict(type='RandomFlip', prob=1.0),
        dict(type='RandomCrop', crop_size=(31, 29), allow_negative_crop=True),
        dict(type='ReduceResolution', ratio=2, keep_hr=True),
        dict(type='PackPairedInputs'),
    )
    packed = pipeline(sample())
    hr, lr = packed['inputs']['hr'].numpy().transpose(1, 2, 0), packed['inputs']['lr'].numpy().transpose(1, 2, 0)
    assert hr.shape == (30, 32, 3)  # 29 × 31, padded to a multiple of 2
    np.testing.assert_array_equal(reduce_image(hr, Fraction(2)), lr)
    assert packed['data_samples'].img_shape == lr.shape[:2]


def test_homography_maps_original_points_to_lr_points():
    out = compose(dict(type='Resize', scale=(94, 66), keep_ratio=True), dict(type='ReduceResolution', ratio=4))(
        sample()
    )
    corner = out['homography_matrix'] @ np.array([3.0, 6.0, 1.0])
    np.testing.assert_allclose(corner[:2], out['gt_bboxes'].tensor.numpy()[0, :2], rtol=1e-5)


def test_hr_image_is_kept_for_pairs_only():
    assert 'img_hr' not in ReduceResolution(2)(sample())


def test_packed_sample_carries_what_measuring_needs():
    packed = PackPairedInputs(meta_keys=META_KEYS)(ReduceResolution(2, keep_hr=True)(sample()))
    assert {'img_id', 'scale_factor', 'hr_scale_factor', 'ori_shape', 'img_shape'} <= set(
        packed['data_samples'].metainfo_keys()
    )


def test_repr_names_the_settings():
    assert repr(ReduceResolution('3/2')) == "ReduceResolution(ratio=3/2, operator='area', keep_hr=False)"
