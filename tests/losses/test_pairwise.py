"""The pair-wise constraint: zero for rotated copies, positive else, loops over the definition."""

from mmpd.losses.pairwise import pairwise_loss

import pytest
import torch


def rows(n: int = 6, dim: int = 4, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_value_and_gradient_are_those_of_loops_over_the_definition():
    x, y = rows(), rows(dim=7, seed=1)
    total = 0.0
    for i in range(6):
        for j in range(6):
            if i != j:
                a, b = (float(m[i] @ m[j] / (m[i].norm() * m[j].norm())) for m in (x, y))
                total += (a - b) ** 2
    assert float(pairwise_loss(x, y)) == pytest.approx(total / 30, rel=1e-12)
    assert torch.autograd.gradcheck(lambda x: pairwise_loss(x, y), (x.requires_grad_(),))


def test_rotated_and_scaled_copies_are_alike_and_others_are_not():
    y = rows()
    rotation = torch.linalg.qr(rows(4, 4, seed=5)).Q
    assert float(pairwise_loss(3 * y @ rotation, y)) < 1e-28
    assert float(pairwise_loss(y.relu(), y)) > 1e-3
    assert float(pairwise_loss(y[torch.randperm(6, generator=torch.Generator().manual_seed(1))], y)) > 1e-3


def test_a_row_of_zeros_stays_finite_and_adds_nothing_on_the_diagonal():
    y = rows(2)
    x = torch.zeros(2, 4, dtype=torch.float64, requires_grad=True)
    loss = pairwise_loss(x, y)
    cosine = float(torch.cosine_similarity(y[0], y[1], dim=0))
    assert float(loss) == pytest.approx(cosine**2)
    loss.backward()
    assert x.grad.isfinite().all()


def test_the_guide_gets_no_gradient_and_a_single_row_holds_no_pair():
    x, y = rows().requires_grad_(), rows(seed=1).requires_grad_()
    pairwise_loss(x, y).backward()
    assert y.grad is None and x.grad.abs().sum() > 0
    assert float(pairwise_loss(x[:1], y[:1])) == 0 and pairwise_loss(x[:0], y[:0]).requires_grad
