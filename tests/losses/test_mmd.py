"""MMD²: closed form for Gaussians, zero in expectation, loops over the definition."""

import math

from mmpd.losses.mmd import FACTORS, median_bandwidths, mmd2

import pytest
import torch

BANDWIDTHS = torch.tensor([0.7, 1.5, 3.0], dtype=torch.float64)


def sample(n: int, seed: int, mean: float = 0.0, sd: float = 1.0, dim: int = 3) -> torch.Tensor:
    return mean + sd * torch.randn(n, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def kernel(a, b, bandwidths) -> float:
    return sum(math.exp(-float(((a - b) ** 2).sum()) / (2 * float(s) ** 2)) for s in bandwidths)


def by_loops(x, y, bandwidths) -> float:
    n, total = len(x), 0.0
    for i in range(n):
        for j in range(n):
            if i != j:
                total += kernel(x[i], x[j], bandwidths) + kernel(y[i], y[j], bandwidths)
                total -= kernel(x[i], y[j], bandwidths) + kernel(x[j], y[i], bandwidths)
    return total / (n * (n - 1))


def closed_form(mean: float, sd: float, dim: int, bandwidths) -> float:
    """MMD² of N(0, I) and N(mean · 1, sd² I): Gaussian integrals of the kernel."""
    total = 0.0
    for s in map(float, bandwidths):

        def expected(var_a, var_b, gap, s=s):
            var = s * s + var_a + var_b
            return (s * s / var) ** (dim / 2) * math.exp(-gap / (2 * var))

        total += expected(1, 1, 0) + expected(sd**2, sd**2, 0) - 2 * expected(1, sd**2, dim * mean**2)
    return total


def test_value_and_gradient_are_those_of_loops_over_the_definition():
    x, y = sample(7, 0).requires_grad_(), sample(7, 1, 0.5)
    loss = mmd2(x, y, BANDWIDTHS)
    assert float(loss) == pytest.approx(by_loops(x.detach(), y, BANDWIDTHS), rel=1e-12)
    assert torch.autograd.gradcheck(lambda x: mmd2(x, y, BANDWIDTHS), (x,))


@pytest.mark.parametrize(('mean', 'sd'), [(0.0, 1.0), (0.8, 1.0), (0.3, 2.0)])
def test_two_gaussians_give_the_closed_form_within_the_standard_error(mean, sd):
    """(0, 1): equal distributions, so zero in expectation, and of either sign."""
    values = [float(mmd2(sample(40, 2 * i), sample(40, 2 * i + 1, mean, sd), BANDWIDTHS)) for i in range(150)]
    average = sum(values) / len(values)
    error = (sum((v - average) ** 2 for v in values) / (len(values) - 1) / len(values)) ** 0.5
    assert abs(average - closed_form(mean, sd, 3, BANDWIDTHS)) < 3 * error
    if (mean, sd) == (0.0, 1.0):
        assert min(values) < 0 < max(values)
    else:
        assert average > 10 * error


def test_unbiased_where_row_i_of_both_is_the_same_image():
    """The estimator with k(x_i, y_i) in it is far below zero here."""
    values = []
    for i in range(150):
        x = sample(20, 2 * i)
        values.append(float(mmd2(x, -0.9 * x + 0.19**0.5 * sample(20, 2 * i + 1), BANDWIDTHS)))  # N(0, I) as well
    average = sum(values) / len(values)
    error = (sum((v - average) ** 2 for v in values) / (len(values) - 1) / len(values)) ** 0.5
    assert abs(average) < 3 * error


def test_equal_rows_give_zero_and_no_gradient():
    x = sample(9, 3).requires_grad_()
    loss = mmd2(x, x.detach().clone())
    (gradient,) = torch.autograd.grad(loss, x)
    assert float(loss) == 0 and gradient.abs().max() < 1e-12


def test_bandwidths_are_the_median_distance_times_the_factors():
    x, y = sample(5, 0), sample(5, 1, 1.0)
    rows = torch.cat([x, y])
    distances = sorted(float((rows[i] - rows[j]).norm()) for i in range(10) for j in range(i))
    got = median_bandwidths(x, y)
    assert got.tolist() == pytest.approx([distances[(len(distances) - 1) // 2] * f for f in FACTORS])
    assert float(mmd2(x, y)) == pytest.approx(by_loops(x, y, got), rel=1e-9)
    assert float(mmd2(100 * x, 100 * y)) == pytest.approx(float(mmd2(x, y)), rel=1e-6), 'free of the scale'


def test_the_guide_gets_no_gradient_and_a_single_row_none_to_give():
    x, y = sample(4, 0).requires_grad_(), sample(4, 1).requires_grad_()
    mmd2(x, y).backward()
    assert y.grad is None and x.grad.abs().sum() > 0
    assert float(mmd2(x[:1], y[:1])) == 0 and mmd2(x[:0], y[:0]).requires_grad


def test_equal_features_everywhere_stay_finite():
    x = torch.ones(6, 4, requires_grad=True)
    loss = mmd2(x, torch.ones(6, 4))
    loss.backward()
    assert loss.isfinite() and x.grad.isfinite().all()
