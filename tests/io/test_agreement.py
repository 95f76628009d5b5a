"""What counts as the same detections."""

from mmpd.io.agreement import Cuts, Found, compare

import numpy as np
import pytest

CUTS = Cuts(score=0.05, iou=0.5, count=3)


def found(*rows: tuple[float, ...]) -> Found:
    """Rows of x1, y1, x2, y2, score, label."""
    table = np.array(rows, float).reshape(-1, 6)
    return Found(table[:, :4], table[:, 4], table[:, 5].astype(int))


A, B = (0, 0, 10, 10, 0.9, 0), (20, 0, 30, 10, 0.8, 1)


def test_order_and_rounding_do_not_matter() -> None:
    rounded = found((20, 0.0005, 30, 10, 0.80005, 1), A)
    result = compare([(found(A, B), rounded)], CUTS)
    assert result.holds and result.detections == 2 and result.ties == 0
    assert (result.box, result.score) == pytest.approx((0.0005, 0.00005))


@pytest.mark.parametrize(
    'other',
    [
        found(A),  # one is missing
        found(A, B, (50, 50, 60, 60, 0.5, 0)),  # one is new
        found(A, (20, 0, 30, 10, 0.8, 0)),  # another class
        found(A, (20, 0, 30, 10.01, 0.8, 1)),  # a box beyond the tolerance
        found(A, (20, 0, 30, 10, 0.8005, 1)),  # a score beyond it
        found(),
    ],
)
def test_a_real_difference_is_seen(other: Found) -> None:
    assert not compare([(found(A, B), other)], CUTS).holds
    assert not compare([(other, found(A, B))], CUTS).holds


def test_nothing_found_proves_nothing() -> None:
    assert not compare([(found(), found())], CUTS).holds


@pytest.mark.parametrize(
    ('one', 'other'),
    [
        (found(A, B, (50, 50, 60, 60, 0.05001, 0)), found(A, B)),  # at the score threshold
        (found(A, B, (50, 50, 60, 60, 0.5, 0)), found(A, B, (70, 50, 80, 60, 0.5, 0))),  # equal scores, full list
        (found(A, B, (0, 0, 10, 5.0001, 0.5, 0)), found(A, B)),  # IoU with A at the threshold
        (found(A, B, (50, 50, 60, 60, 0.5, 0)), found(A, B, (52, 50, 62, 60, 0.5, 0))),  # either of two equal ones
    ],
)
def test_a_tie_is_none_of_the_files_fault_but_is_counted(one: Found, other: Found) -> None:
    result = compare([(one, other)], CUTS)
    assert result.odd == 0 and 0 < result.ties <= 2 and result.holds


def test_too_many_ties_are_no_proof() -> None:
    low = [(100 * i, 0, 100 * i + 10, 10, 0.05001, 0) for i in range(3)]
    assert not compare([(found(A, *low), found(A))], CUTS).holds
