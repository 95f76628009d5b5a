"""Any size, ratio, flip and crop: HR stays exactly ratio × LR, and boxes stay on their objects."""

from fractions import Fraction

from mmpd.data.preprocessor import PairDataPreprocessor
from mmpd.data.reduction import reduce_image
from mmpd.data.seeding import sample_rng

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from mmcv.transforms import Compose
from mmdet.registry import MODELS
from mmdet.structures.bbox import HorizontalBoxes
from mmengine.registry import DefaultScope

RATIOS = [Fraction(1), Fraction(2), Fraction(3), Fraction(4), Fraction(3, 2), Fraction(4, 3), Fraction(5, 4)]


def transforms(ratio: Fraction | None, scale: tuple[int, int], crop: float | None) -> Compose:
    """What a chain's training pipeline does after loading; without `ratio`: up to the HR sample."""
    with DefaultScope.overwrite_default_scope('mmdet'):
        steps = [
            dict(type='mmdet.Resize', scale=scale, keep_ratio=True),
            dict(type='mmdet.RandomFlip', prob=[0.3, 0.3, 0.3], direction=['horizontal', 'vertical', 'diagonal']),
        ]
        if crop is not None:
            steps.append(dict(type='mmdet.RandomCrop', crop_type='relative', crop_size=(crop, crop),
                              allow_negative_crop=True))  # fmt: skip
        if ratio is not None:
            steps += [dict(type='mmdet.ReduceResolution', ratio=str(ratio), keep_hr=True)]
            steps += [dict(type='mmdet.PackPairedInputs')]
        return Compose(steps)


def sample(width: int, height: int, boxes: list[tuple[float, float, float, float]]) -> dict:
    """A loaded image with boxes given as fractions of it (x, y, w, h)."""
    image = np.random.default_rng(width * 1000 + height).integers(0, 256, (height, width, 3), np.uint8)
    corners = np.array([(x * width, y * height, min(x + w, 1) * width, min(y + h, 1) * height) for x, y, w, h in boxes])
    return dict(
        img=image,
        img_id='a',
        img_path='a.png',
        ori_shape=(height, width),
        img_shape=(height, width),
        gt_bboxes=HorizontalBoxes(corners.astype(np.float32).reshape(-1, 4)),
        gt_bboxes_labels=np.arange(len(boxes)),
        gt_ignore_flags=np.zeros(len(boxes), bool),
    )


unit = st.floats(0.0, 0.8)
box = st.tuples(unit, unit, st.floats(0.1, 1.0), st.floats(0.1, 1.0))
image = st.tuples(st.integers(20, 90), st.integers(20, 90), st.lists(box, min_size=0, max_size=3))


@given(
    images=st.lists(image, min_size=1, max_size=3),
    ratio=st.sampled_from(RATIOS),
    scale=st.tuples(st.integers(24, 80), st.integers(24, 80)),
    crop=st.none() | st.floats(0.5, 1.0),
    divisor=st.sampled_from([1, 8, 32]),
    seed=st.integers(0, 10**6),
)
@settings(max_examples=80, deadline=None)
def test_a_pair_stays_a_pair(images, ratio, scale, crop, divisor, seed):
    packed, hr_samples = [], []
    for index, (width, height, boxes) in enumerate(images):
        for pipeline, out in ((transforms(ratio, scale, crop), packed), (transforms(None, scale, crop), hr_samples)):
            with sample_rng(seed, 0, index):  # both make the same random choices
                out.append(pipeline(sample(width, height, boxes)))
    check_samples(packed, hr_samples, ratio)
    batch = preprocessor(ratio, divisor)(
        dict(
            inputs=dict(lr=[item['inputs']['lr'] for item in packed], hr=[item['inputs']['hr'] for item in packed]),
            data_samples=[item['data_samples'] for item in packed],
        ),
        True,
    )['inputs']
    assert [Fraction(side) for side in batch['hr'].shape[-2:]] == [ratio * side for side in batch['lr'].shape[-2:]]
    assert all(side % divisor == 0 for side in batch['lr'].shape[-2:])


def check_samples(packed: list[dict], hr_samples: list[dict], ratio: Fraction) -> None:
    for item, at_hr in zip(packed, hr_samples, strict=True):
        img_lr, img_hr = (item['inputs'][size].numpy().transpose(1, 2, 0) for size in ('lr', 'hr'))
        height, width = at_hr['img'].shape[:2]
        assert (img_hr[:height, :width] == at_hr['img']).all(), 'LR must come from this very HR image'
        assert (img_lr == reduce_image(img_hr, ratio)).all()
        boxes_lr = item['data_samples'].gt_instances.bboxes.numpy()
        boxes_hr = at_hr['gt_bboxes'].tensor.numpy()
        np.testing.assert_allclose(boxes_lr * float(ratio), boxes_hr, rtol=1e-5, atol=1e-3)
        labels = item['data_samples'].gt_instances.labels.numpy()
        assert (labels == at_hr['gt_bboxes_labels']).all()
        factors = zip(item['data_samples'].scale_factor, at_hr['scale_factor'], strict=True)
        assert all(abs(lr * float(ratio) - hr) < 1e-6 for lr, hr in factors)


def preprocessor(ratio: Fraction, divisor: int) -> PairDataPreprocessor:
    settings_ = dict(type='mmdet.DetDataPreprocessor', mean=[0, 0, 0], std=[1, 1, 1], pad_size_divisor=divisor)
    return PairDataPreprocessor(MODELS.build(settings_), MODELS.build(settings_), ratio)
