"""Feature losses against definitions written with loops."""

from mmpd.losses.feature import FEATURE_LOSSES, MIN_CELLS, mse_loss, pkd_loss

import numpy as np
import pytest
import torch


def maps(*shape: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator), torch.randn(*shape, generator=generator)


def mask_of(batch: int, height: int, width: int, rows: int, columns: int) -> torch.Tensor:
    valid = torch.zeros(batch, 1, height, width, dtype=torch.bool)
    valid[..., :rows, :columns] = True
    return valid


FULL = mask_of(2, 4, 5, 4, 5)
PART = mask_of(2, 4, 5, 3, 4)


def test_pkd_is_one_minus_pearson_over_the_valid_cells():
    student, guide = maps(2, 3, 4, 5)
    expected = np.mean(
        [
            1 - np.corrcoef(student[:, c, :3, :4].flatten().numpy(), guide[:, c, :3, :4].flatten().numpy())[0, 1]
            for c in range(3)
        ]
    )
    assert float(pkd_loss(student, guide, PART)) == pytest.approx(expected, abs=1e-5)


def test_pkd_does_not_see_gain_and_offset():
    student, guide = maps(2, 3, 4, 5)
    torch.testing.assert_close(
        pkd_loss(student, 7 * guide + 3, FULL), pkd_loss(student, guide, FULL), atol=1e-5, rtol=0
    )
    assert float(pkd_loss(-guide, guide, FULL)) == pytest.approx(2.0, abs=1e-4)


@pytest.mark.parametrize('scale', [1e-4, 1e-2, 1.0, 1e2, 1e4])
def test_pkd_is_the_same_at_every_scale(scale):
    """Features of ImageNet backbones and of fresh necks differ by orders; 0.55 at sigma 1 was 0.29 at 1e-3."""
    student, guide = maps(2, 3, 4, 5)
    expected = pkd_loss(student, guide, PART)
    per_channel = torch.tensor([1.0, scale, 1 / scale])[:, None, None]
    for gains in (scale, per_channel):
        leaf = (student * gains).requires_grad_()
        loss = pkd_loss(leaf, guide, PART)
        loss.backward()
        torch.testing.assert_close(loss.detach(), expected, atol=1e-6, rtol=1e-5)
        torch.testing.assert_close(pkd_loss(student, guide * gains, PART), expected, atol=1e-6, rtol=1e-5)
        reference = student.clone().requires_grad_()
        pkd_loss(reference, guide, PART).backward()
        torch.testing.assert_close(leaf.grad * gains, reference.grad, atol=1e-7, rtol=1e-4)


@pytest.mark.parametrize('value', [0.0, 1e-30, 0.1, -1234.567, 1e6])
def test_pkd_of_a_constant_channel(value):
    """No correlation: it costs 1/2 of its channel, and what rounding leaves in it is not blown up to a gradient."""
    student, guide = maps(2, 3, 4, 5)
    constant = student.clone()
    constant[:, 1] = value
    constant.requires_grad_()
    loss = pkd_loss(constant, guide, PART)
    loss.backward()
    others = pkd_loss(student[:, ::2], guide[:, ::2], PART)
    assert loss.item() == pytest.approx((2 * float(others) + 0.5) / 3, abs=1e-5)
    assert torch.isfinite(constant.grad).all() and not constant.grad[:, 1].any() and constant.grad[:, 0].any()
    against = pkd_loss(student, constant, PART)
    assert torch.isfinite(against) and float(pkd_loss(constant, constant, PART)) == 0


def test_pkd_skips_grids_too_small_to_normalise_but_keeps_the_graph():
    student, guide = maps(1, 3, 2, 3)
    student.requires_grad_()
    loss = pkd_loss(student, guide, torch.ones(1, 1, 2, 3, dtype=torch.bool))
    loss.backward()
    assert float(loss) == 0 and student.grad is not None and not student.grad.any() and MIN_CELLS > 6


def test_mse_hand_worked():
    student = torch.tensor([[[[1.0, 2.0], [9.0, 9.0]]]])
    assert float(mse_loss(student, torch.zeros(1, 1, 2, 2), mask_of(1, 2, 2, 1, 2))) == 2.5


@pytest.mark.parametrize('name', FEATURE_LOSSES)
class TestEveryLoss:
    def test_zero_for_equal_maps(self, name):
        student, _ = maps(2, 3, 4, 5)
        assert float(FEATURE_LOSSES[name](student, student.clone(), PART)) == 0.0

    def test_padding_does_not_count(self, name):
        student, guide = maps(2, 3, 4, 5)
        expected = FEATURE_LOSSES[name](student, guide, PART)
        hidden = ~PART.expand_as(guide)
        guide[hidden], student[hidden] = 1e3, -1e3
        torch.testing.assert_close(FEATURE_LOSSES[name](student, guide, PART), expected)

    def test_gradient_reaches_the_student_alone(self, name):
        student, guide = maps(2, 3, 4, 5)
        student.requires_grad_(), guide.requires_grad_()
        FEATURE_LOSSES[name](student, guide, PART).backward()
        assert student.grad.abs().sum() > 0 and guide.grad is None
        assert not student.grad[~PART.expand_as(student)].any()

    def test_a_batch_of_padding_alone_is_finite(self, name):
        student, guide = maps(2, 3, 4, 5)
        assert torch.isfinite(FEATURE_LOSSES[name](student, guide, mask_of(2, 4, 5, 0, 0)))


def test_pkd_gradient_is_that_of_the_correlation():
    student, guide = maps(2, 2, 4, 5)
    leaf, twin = student.clone().requires_grad_(), student.double().requires_grad_()
    pkd_loss(leaf, guide, FULL).backward()
    correlations = [torch.corrcoef(torch.stack([twin[:, c].flatten(), guide[:, c].flatten().double()])) for c in (0, 1)]
    (1 - torch.stack([matrix[0, 1] for matrix in correlations]).mean()).backward()
    torch.testing.assert_close(leaf.grad, twin.grad.float(), atol=1e-6, rtol=1e-4)


def test_mse_gradients():
    student, guide = maps(1, 2, 3, 4)
    student = student.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda s: mse_loss(s, guide.double(), mask_of(1, 3, 4, 3, 3)), student)
