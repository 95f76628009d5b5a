"""Centred windows: no shift, no gain, identity where the grids coincide."""

from mmpd.align.resample import resample_features, window_weights

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

OFFSETS = [0.0, 0.5]


@given(st.integers(1, 20), st.integers(1, 30), st.sampled_from([6.0, 8.0, 12.0, 16.0, 32.0]), st.sampled_from(OFFSETS))
@settings(max_examples=100, deadline=None)
def test_rows_are_shares(n_student, n_guide, stride, offset):
    weights = window_weights(n_student, n_guide, stride, 8.0, offset, offset)
    assert weights.shape == (n_student, n_guide) and (weights >= 0).all()
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(n_student))


@pytest.mark.parametrize('offset', OFFSETS)
def test_equal_grids_give_the_identity_exactly(offset):
    assert torch.equal(window_weights(7, 7, 16.0, 16.0, offset, offset), torch.eye(7))


@pytest.mark.parametrize('offset', OFFSETS)
@pytest.mark.parametrize('ratio', [1.5, 2.0, 3.0, 4.0])
def test_a_ramp_is_not_shifted(ratio, offset):
    """A feature that tells its own position must tell the student's cell centre; plain r×r blocks, whose first guide
    cell is the student's, are off by (r - 1)/2 guide cells where priors sit on the cells' corners."""
    n_student, stride = 9, 8.0
    n_guide = int(n_student * ratio)
    ramp = (torch.arange(n_guide) + offset) * stride
    centres = (torch.arange(n_student) + offset) * stride * ratio
    got = window_weights(n_student, n_guide, stride * ratio, stride, offset, offset) @ ramp
    error = (got - centres)[1:-1] / stride  # in guide cells
    if ratio == int(ratio):
        torch.testing.assert_close(error, torch.zeros(7))
    else:  # windows cut cells in parts: the error is small and alternates
        assert error.abs().max() < 0.1 and abs(error[:6].mean()) < 0.02
    if ratio == int(ratio) and offset == 0:
        blocks = ramp.view(n_student, -1).mean(dim=1)
        torch.testing.assert_close((blocks - centres) / stride, torch.full((9,), (ratio - 1) / 2))


def test_hand_worked_ratio_2_with_corner_priors():
    weights = window_weights(2, 4, 16.0, 8.0, 0.0, 0.0)
    torch.testing.assert_close(weights, torch.tensor([[2 / 3, 1 / 3, 0, 0], [0, 0.25, 0.5, 0.25]]))


def test_hand_worked_ratio_3_half_with_centre_priors():
    weights = window_weights(2, 3, 12.0, 8.0, 0.5, 0.5)
    torch.testing.assert_close(weights, torch.tensor([[2 / 3, 1 / 3, 0], [0, 1 / 3, 2 / 3]]))


def test_student_cells_beyond_the_guides_grid_take_its_last_cell():
    weights = window_weights(4, 2, 8.0, 8.0, 0.0, 0.0)
    torch.testing.assert_close(weights[2:], torch.tensor([[0.0, 1.0], [0.0, 1.0]]))


def test_finer_student_cells_read_their_guide_cell():
    weights = window_weights(4, 2, 4.0, 8.0, 0.5, 0.5)
    torch.testing.assert_close(weights, torch.tensor([[1.0, 0], [1, 0], [0, 1], [0, 1]]))


def test_features_are_averaged_over_the_window():
    features = torch.randn(2, 3, 6, 9, generator=torch.Generator().manual_seed(0))
    rows, columns = window_weights(4, 6, 12.0, 8.0, 0.0, 0.0), window_weights(6, 9, 12.0, 8.0, 0.0, 0.0)
    expected = torch.zeros(2, 3, 4, 6)
    for y in range(4):
        for x in range(6):
            for i in range(6):
                for j in range(9):
                    expected[:, :, y, x] += rows[y, i] * columns[x, j] * features[:, :, i, j]
    torch.testing.assert_close(resample_features(features, rows, columns), expected)


def test_a_flat_map_stays_flat_at_every_border():
    out = resample_features(
        torch.full((1, 1, 5, 7), 3.0), window_weights(3, 5, 16.0, 8.0, 0.0, 0.0), window_weights(4, 7, 16.0, 8.0, 0, 0)
    )
    torch.testing.assert_close(out, torch.full((1, 1, 3, 4), 3.0))


def test_half_precision_features_keep_their_format():
    weights = window_weights(3, 6, 16.0, 8.0, 0.0, 0.0)
    assert resample_features(torch.ones(1, 1, 6, 6, dtype=torch.bfloat16), weights, weights).dtype == torch.bfloat16
