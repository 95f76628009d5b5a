"""Losses of super-resolution distillation against their definitions."""

from mmpd.losses.super_resolution import affinity, feature_affinity_loss, logits_l1

import pytest
import torch


def test_logits_l1_is_the_mean_distance_and_leaves_the_guide_alone():
    student, guide = torch.rand(2, 3, 4, 4, requires_grad=True), torch.rand(2, 3, 4, 4, requires_grad=True)
    loss = logits_l1(student, guide)
    loss.backward()
    assert loss.item() == pytest.approx((student - guide).abs().mean().item())
    assert guide.grad is None and student.grad is not None


def test_affinity_is_the_cosine_of_every_two_positions():
    feature = torch.randn(2, 5, 3, 4)
    result = affinity(feature, 24)
    assert result.shape == (2, 12, 12)
    for a in range(12):
        for b in range(12):
            one, other = feature[1, :, a // 4, a % 4], feature[1, :, b // 4, b % 4]
            assert result[1, a, b].item() == pytest.approx(torch.cosine_similarity(one, other, 0).item(), abs=1e-5)


def test_affinity_loss_does_not_see_widths_scale_or_rotation_of_channels():
    feature = torch.randn(1, 4, 3, 3)
    rotation = torch.linalg.qr(torch.randn(4, 4))[0]
    turned = 2 * torch.einsum('oc,bchw->bohw', rotation, feature)
    wider = torch.cat([turned, torch.zeros(1, 3, 3, 3)], 1)
    assert feature_affinity_loss([feature], [wider]).item() == pytest.approx(0, abs=1e-5)
    assert feature_affinity_loss([feature], [torch.randn(1, 4, 3, 3)]) > 0.01


def test_large_maps_are_averaged_down_first():
    assert affinity(torch.randn(1, 2, 32, 20), 8).shape == (1, 64, 64)


def test_affinity_keeps_its_precision_under_autocast():
    """Maps that differ by less than bfloat16 can tell: the loss and its gradient are those of float32."""
    maps = torch.rand(1, 6, 5, 5) + 1  # cosines near 1
    other = (maps + 1e-3 * torch.randn(maps.shape)).requires_grad_()
    expected = feature_affinity_loss([other], [maps])
    with torch.autocast('cpu', torch.bfloat16):
        loss = feature_affinity_loss([other], [maps])
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(torch.autograd.grad(loss, other), torch.autograd.grad(expected, other))
