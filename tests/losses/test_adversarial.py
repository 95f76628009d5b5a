"""The discriminator's loss and the gradient reversal."""

import math

from mmpd.losses.adversarial import discriminator_accuracy, discriminator_loss, ramp, reverse_gradient

import pytest
import torch


def test_the_loss_is_that_of_a_loop_over_the_definition():
    hr, lr = torch.randn(5, dtype=torch.float64), torch.randn(3, dtype=torch.float64)
    said_hr = sum(math.log(1 / (1 + math.exp(-float(z)))) for z in hr) / 5
    said_lr = sum(math.log(1 - 1 / (1 + math.exp(-float(z)))) for z in lr) / 3
    assert float(discriminator_loss(hr, lr)) == pytest.approx(-(said_hr + said_lr) / 2)
    assert float(discriminator_loss(torch.zeros(2), torch.zeros(2))) == pytest.approx(math.log(2))
    assert float(discriminator_loss(torch.tensor([-500.0]), torch.tensor([500.0]))) == pytest.approx(500)


def test_accuracy_counts_each_resolution_half():
    hr, lr = torch.tensor([1.0, 1.0, 1.0, -1.0]), torch.tensor([-1.0])
    assert float(discriminator_accuracy(hr, lr)) == pytest.approx((0.75 + 1) / 2)
    assert float(discriminator_accuracy(hr.abs(), lr.abs())) == 0.5, 'always saying HR is no knowledge'
    assert float(discriminator_accuracy(torch.zeros(3), torch.zeros(2))) == 0.5


def test_reversal_changes_the_gradient_and_not_the_value():
    x = torch.tensor([1.0, -2.0], requires_grad=True)
    y = reverse_gradient(x, torch.tensor(0.25))
    assert torch.equal(y, x)
    (3 * y).sum().backward()
    assert x.grad.tolist() == [-0.75, -0.75]


def test_the_ramp_is_ganins():
    for p in (0.0, 0.1, 0.5, 1.0, 3.0):
        expected = 2 / (1 + math.exp(-10 * min(p, 1.0))) - 1
        assert float(ramp(torch.tensor(40 * p), 40)) == pytest.approx(expected, abs=1e-6)
