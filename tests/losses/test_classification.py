"""Each loss against an independent float64 formula in numpy or a value worked out by hand."""

from mmpd.errors import ConfigError
from mmpd.losses.classification import (
    attention_transfer_loss,
    feature_imitation_loss,
    icc_loss,
    similarity_preserving_loss,
    to_guide_grid,
)
from mmpd.losses.kd import dkd_loss, dkd_parts, kd_loss

import numpy as np
import pytest
import torch

LABELS = torch.tensor([0, 3, 1])


def logits(seed, batch=3, classes=5, scale=2.0):
    return scale * torch.randn(batch, classes, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def feature_map(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def softmax(x):
    e = np.exp(x)
    return e / e.sum(-1, keepdims=True)


def kl(p, q):
    return (p * (np.log(p) - np.log(q))).sum(-1)


def rows_to_norm_one(matrix):
    return matrix / np.linalg.norm(matrix, axis=-1, keepdims=True)


LOSSES = {
    'kd': lambda s, g: kd_loss(s[:, :, 0, 0], g[:, :, 0, 0]),
    'dkd': lambda s, g: dkd_loss(s[:, :, 0, 0], g[:, :, 0, 0], LABELS),
    'at': attention_transfer_loss,
    'sp': similarity_preserving_loss,
    'icc': icc_loss,
    'imitation': feature_imitation_loss,
}


@pytest.mark.parametrize('name', LOSSES)
def test_zero_when_identical_and_positive_otherwise(name):
    student, guide = feature_map(1, 3, 4, 2, 2), feature_map(2, 3, 4, 2, 2)
    assert LOSSES[name](guide, guide.clone()).item() == pytest.approx(0, abs=1e-14)
    assert LOSSES[name](student, guide).item() > 1e-4


@pytest.mark.parametrize('name', LOSSES)
def test_gradient_reaches_the_student_only(name):
    student = feature_map(1, 3, 4, 2, 2).requires_grad_()
    guide = feature_map(2, 3, 4, 4, 4).requires_grad_()
    LOSSES[name](student, guide).backward()
    assert student.grad is not None and student.grad.abs().sum() > 0
    assert guide.grad is None


@pytest.mark.parametrize('name', LOSSES)
def test_half_precision_is_computed_in_float32(name):
    student, guide = feature_map(1, 3, 4, 2, 2) * 200, feature_map(2, 3, 4, 2, 2) * 200
    half = LOSSES[name](student.half(), guide.half())
    assert half.dtype == torch.float32
    torch.testing.assert_close(
        half.double(), LOSSES[name](student.half().double(), guide.half().double()), rtol=1e-4, atol=0
    )


def test_kd_by_hand():
    # T = 2: student (0, 0) → (1/2, 1/2), guide (2·ln 3, 0) → (3/4, 1/4).
    student, guide = torch.zeros(1, 2, dtype=torch.float64), torch.tensor([[2 * np.log(3), 0.0]])
    expected = 4 * (0.75 * np.log(1.5) + 0.25 * np.log(0.5))
    assert kd_loss(student, guide, temperature=2.0).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize('temperature', [1.0, 4.0])
def test_kd_is_t_squared_times_the_batch_mean_of_kl(temperature):
    student, guide = logits(1), logits(2)
    expected = temperature**2 * kl(softmax(guide.numpy() / temperature), softmax(student.numpy() / temperature)).mean()
    assert kd_loss(student, guide, temperature).item() == pytest.approx(expected, rel=1e-12)


def test_kd_gradient_keeps_its_size_as_t_grows():
    # Hinton 2015, section 2: for large T the gradient tends to (z_s − z_g) / C for zero-mean logits; T² cancels 1/T².
    student, guide = logits(1, batch=1), logits(2, batch=1)
    student, guide = student - student.mean(), guide - guide.mean()
    student.requires_grad_()
    kd_loss(student, guide, temperature=1e5).backward()
    torch.testing.assert_close(student.grad, (student.detach() - guide) / 5, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize('temperature', [1.0, 4.0])
def test_dkd_against_numpy(temperature):
    student, guide = logits(1), logits(2)
    expected = 0.0
    for z_student, z_guide, label in zip(student.numpy(), guide.numpy(), LABELS.tolist(), strict=True):
        p, q = softmax(z_guide / temperature), softmax(z_student / temperature)
        tckd = kl(np.array([p[label], 1 - p[label]]), np.array([q[label], 1 - q[label]]))
        p_others, q_others = np.delete(p, label), np.delete(q, label)
        nckd = kl(p_others / p_others.sum(), q_others / q_others.sum())
        expected += temperature**2 * (0.5 * tckd + 6.0 * nckd) / len(student)
    found = dkd_loss(student, guide, LABELS, alpha=0.5, beta=6.0, temperature=temperature)
    assert found.item() == pytest.approx(expected, rel=1e-11)


@pytest.mark.parametrize('temperature', [1.0, 4.0])
def test_kd_is_tckd_plus_the_rest_of_the_mass_times_nckd(temperature):
    student, guide = logits(3), logits(4)
    tckd, nckd = dkd_parts(student, guide, LABELS, temperature)
    rest = 1 - (guide / temperature).softmax(1).gather(1, LABELS[:, None])[:, 0]
    recomposed = temperature**2 * (tckd + rest * nckd).mean()
    torch.testing.assert_close(recomposed, kd_loss(student, guide, temperature), rtol=1e-12, atol=0)


def test_dkd_survives_a_guide_that_is_certain():
    student = logits(1).float().requires_grad_()
    guide = torch.nn.functional.one_hot(LABELS, 5).float() * 400
    loss = dkd_loss(student, guide, LABELS, temperature=1.0)
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(student.grad).all()


def test_attention_transfer_by_hand():
    # Attention: student (3² + 0, 0 + 4²) = (9, 16), guide (16, 9); both have norm √337.
    student = torch.tensor([[[[3.0, 0.0]], [[0.0, 4.0]]]], dtype=torch.float64)
    guide = torch.tensor([[[[4.0, 3.0]]]], dtype=torch.float64)
    assert attention_transfer_loss(student, guide).item() == pytest.approx(49 / 337, rel=1e-12)


def test_attention_transfer_upsamples_the_attention_of_a_small_student():
    student, guide = feature_map(1, 2, 3, 2, 2), feature_map(2, 2, 4, 4, 4)
    attention = upsample_twice((student.numpy() ** 2).sum(1)).reshape(2, -1)
    target = (guide.numpy() ** 2).sum(1).reshape(2, -1)
    expected = np.mean((rows_to_norm_one(attention) - rows_to_norm_one(target)) ** 2)
    assert attention_transfer_loss(student, guide).item() == pytest.approx(expected, rel=1e-12)


def test_similarity_preserving_against_numpy_on_unequal_grids():
    student, guide = feature_map(1, 3, 2, 2, 2), feature_map(2, 3, 5, 4, 4)
    q_student, q_guide = student.numpy().reshape(3, -1), guide.numpy().reshape(3, -1)
    difference = rows_to_norm_one(q_guide @ q_guide.T) - rows_to_norm_one(q_student @ q_student.T)
    expected = np.linalg.norm(difference, 'fro') ** 2 / 3**2
    assert similarity_preserving_loss(student, guide).item() == pytest.approx(expected, rel=1e-12)
    assert similarity_preserving_loss(student[:1], guide[:1]).item() == 0


def test_icc_against_numpy_on_unequal_grids():
    student, guide = feature_map(1, 2, 3, 2, 2), feature_map(2, 2, 3, 4, 4)
    expected = 0.0
    for f_student, f_guide in zip(student.numpy(), guide.numpy(), strict=True):
        f_student, f_guide = f_student.reshape(3, -1), f_guide.reshape(3, -1)
        difference = rows_to_norm_one(f_guide @ f_guide.T) - rows_to_norm_one(f_student @ f_student.T)
        expected += (difference**2).sum() / 3 / 2
    assert icc_loss(student, guide).item() == pytest.approx(expected, rel=1e-12)


def test_icc_ignores_the_number_of_positions():
    """The same map with every pixel doubled has the same correlations, only larger inner products."""
    guide = feature_map(2, 2, 3, 2, 2)
    finer = guide.repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert icc_loss(guide, finer).item() == pytest.approx(0, abs=1e-14)


def test_feature_imitation_upsamples_the_student():
    student, guide = feature_map(1, 2, 3, 2, 2), feature_map(2, 2, 3, 4, 4)
    expected = np.mean((upsample_twice(student.numpy()) - guide.numpy()) ** 2)
    assert feature_imitation_loss(student, guide).item() == pytest.approx(expected, rel=1e-12)


def test_to_guide_grid_keeps_a_linear_ramp_in_place():
    """Positions are measured in the image: cell centre i of n lies at (i + 1/2) / n, on both grids."""
    coarse = ((torch.arange(6, dtype=torch.float64) + 0.5) / 6).expand(1, 1, 6, 6)
    fine = ((torch.arange(24, dtype=torch.float64) + 0.5) / 24).expand(1, 1, 24, 24)
    inner = slice(2, -2)  # outside the outermost centres there is nothing to interpolate between
    torch.testing.assert_close(to_guide_grid(coarse, fine)[..., inner], fine[..., inner])
    assert to_guide_grid(fine, fine) is fine


def test_to_guide_grid_averages_when_the_student_is_finer():
    checkerboard = torch.tensor([0.0, 1.0]).repeat(8).expand(1, 1, 16, 16)
    reduced = to_guide_grid(checkerboard, torch.zeros(1, 1, 4, 4))
    torch.testing.assert_close(reduced[..., 1:-1, 1:-1], torch.full((1, 1, 2, 2), 0.5))


def upsample_twice(maps):
    """Bilinear ×2 with half-pixel centres of (..., h, w), from its definition: neighbours weigh 3/4 and 1/4."""
    for axis in (-2, -1):
        maps = np.moveaxis(maps, axis, -1)
        padded = np.concatenate([maps[..., :1], maps, maps[..., -1:]], -1)
        left = 0.25 * padded[..., :-2] + 0.75 * maps
        right = 0.75 * maps + 0.25 * padded[..., 2:]
        maps = np.moveaxis(np.stack([left, right], -1).reshape(*maps.shape[:-1], -1), -1, axis)
    return maps


def test_wrong_settings_name_what_to_change():
    with pytest.raises(ConfigError, match='temperature=0'):
        kd_loss(logits(1), logits(2), temperature=0)
    with pytest.raises(ConfigError, match='num_classes'):
        kd_loss(logits(1), logits(2, classes=6))
    with pytest.raises(ConfigError, match='num_classes=1'):
        dkd_loss(logits(1, classes=1), logits(2, classes=1), torch.zeros(3, dtype=torch.long))
    with pytest.raises(ConfigError, match='adapter'):
        icc_loss(feature_map(1, 2, 3, 2, 2), feature_map(2, 2, 4, 2, 2))
    with pytest.raises(ConfigError, match='adapter'):
        feature_imitation_loss(feature_map(1, 2, 3, 2, 2), feature_map(2, 2, 4, 2, 2))
