"""A batch of pairs: exact for every ratio, every odd size (invariant 1)."""

import math
from fractions import Fraction

from mmpd.data.preprocessor import PairDataPreprocessor
from mmpd.errors import ConfigError, DataError
from tests.toys import toy_pair_batch

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmdet.models.data_preprocessors import DetDataPreprocessor

RATIOS = [Fraction(1), Fraction(3, 2), Fraction(4, 3), Fraction(2), Fraction(3), Fraction(4)]
LR_SETTINGS = dict(mean=[10.0, 20.0, 30.0], std=[2.0, 4.0, 8.0], bgr_to_rgb=True, pad_size_divisor=32)
HR_SETTINGS = dict(mean=[1.0, 2.0, 3.0], std=[4.0, 4.0, 4.0], bgr_to_rgb=False, pad_size_divisor=32)


def preprocessor(ratio: Fraction, divisor: int = 32, guide_divisor: int = 32) -> PairDataPreprocessor:
    student = DetDataPreprocessor(**{**LR_SETTINGS, 'pad_size_divisor': divisor})
    guide = DetDataPreprocessor(**{**HR_SETTINGS, 'pad_size_divisor': guide_divisor})
    return PairDataPreprocessor(student, guide, ratio)


@given(
    st.sampled_from(RATIOS),
    st.lists(st.tuples(st.integers(8, 19), st.integers(8, 19)), min_size=1, max_size=3),
    st.sampled_from([1, 4, 32]),
    st.sampled_from([1, 32]),
)
@settings(max_examples=60, deadline=None)
def test_hr_batch_is_exactly_ratio_times_the_lr_batch(ratio, cells, divisor, guide_divisor):
    sizes = tuple((h * ratio.denominator, w * ratio.denominator) for h, w in cells)
    batch = toy_pair_batch(ratio, sizes)
    out = preprocessor(ratio, divisor, guide_divisor)(batch, True)['inputs']
    assert [Fraction(side) for side in out['hr'].shape[-2:]] == [ratio * side for side in out['lr'].shape[-2:]]
    assert all(side % math.lcm(divisor, ratio.denominator) == 0 for side in out['lr'].shape[-2:])
    assert all(side % guide_divisor == 0 for side in out['hr'].shape[-2:])
    assert len(out['hr']) == len(out['lr']) == len(sizes)
    assert all(s >= h for h, _ in sizes for s in out['lr'].shape[-2:-1])


def test_each_size_is_normalised_by_its_owner_and_padded_with_zero():
    batch = toy_pair_batch(2, ((20, 30), (24, 28)))
    raw_lr, raw_hr = batch['inputs']['lr'][0].float(), batch['inputs']['hr'][0].float()
    out = preprocessor(Fraction(2))(batch, True)
    lr, hr = out['inputs']['lr'][0], out['inputs']['hr'][0]
    mean, std = (torch.tensor(LR_SETTINGS[key]).view(3, 1, 1) for key in ('mean', 'std'))
    torch.testing.assert_close(lr[:, :20, :30], (raw_lr.flip(0) - mean) / std)
    torch.testing.assert_close(hr[:, :40, :60], (raw_hr - torch.tensor([1.0, 2.0, 3.0]).view(3, 1, 1)) / 4)
    assert not lr[:, 20:].any() and not lr[:, :, 30:].any() and not hr[:, 40:].any() and not hr[:, :, 60:].any()


def test_samples_know_the_lr_batch():
    out = preprocessor(Fraction(2))(toy_pair_batch(2, ((20, 30), (24, 40))), True)
    first = out['data_samples'][0]
    assert first.batch_input_shape == (32, 64) and first.img_shape == (20, 30)
    assert isinstance(first.gt_instances.bboxes, torch.Tensor)


def test_unpaired_input_goes_through_the_students_own():
    student = DetDataPreprocessor(**LR_SETTINGS)
    pair = PairDataPreprocessor(student, DetDataPreprocessor(**HR_SETTINGS), Fraction(3, 2))
    batch = toy_pair_batch(2)
    data = dict(inputs=batch['inputs']['lr'], data_samples=batch['data_samples'])
    torch.testing.assert_close(pair(dict(data), False)['inputs'], student(dict(data), False)['inputs'])
    assert student.pad_size_divisor == 32  # a paired batch's divisor is its own


def test_the_owners_preprocessors_are_not_changed():
    student, guide = DetDataPreprocessor(**LR_SETTINGS), DetDataPreprocessor(**HR_SETTINGS)
    PairDataPreprocessor(student, guide, Fraction(4, 3))(toy_pair_batch('4/3', ((24, 24),)), True)
    assert (student.pad_size_divisor, guide.pad_size_divisor) == (32, 32)


def test_sizes_that_are_no_pair_are_refused():
    batch = toy_pair_batch(2)
    batch['inputs']['hr'][1] = batch['inputs']['hr'][1][..., :-1]
    with pytest.raises(DataError, match='image 1 .*is not 2 × LR.*ReduceResolution'):
        preprocessor(Fraction(2))(batch, True)


def test_batch_augments_are_refused():
    augmented = DetDataPreprocessor(**LR_SETTINGS, batch_augments=[dict(type='BatchFixedSizePad', size=(64, 64))])
    with pytest.raises(ConfigError, match=r'(?s)batch_augments.*overrides'):
        PairDataPreprocessor(augmented, DetDataPreprocessor(**HR_SETTINGS), Fraction(2))
