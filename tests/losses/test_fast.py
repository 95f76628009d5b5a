"""The losses that make their gradients themselves, and the term that looks at few locations, against the formulas."""

from mmpd.losses.feature import mse_loss, pkd_loss
from mmpd.losses.isrd import isrd_loss
from mmpd.losses.response import location_weights, quality_focal_bce
from tests.losses import reference
from tests.toys import build_distiller, first_losses, toy_pair_batch

import pytest
import torch
from torch import Tensor


def maps(*shape: int, n: int = 2, scale: float = 1.0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [scale * torch.randn(*shape, generator=generator) for _ in range(n)]


def same(fast, slow, leaf: Tensor) -> None:
    """Equal values and equal gradients at `leaf`, to 1e-6."""
    answers = []
    for loss in (fast, slow):
        own = leaf.clone().requires_grad_()
        value = loss(own)
        (3 * value).backward()
        answers.append((value.detach(), own.grad))
    torch.testing.assert_close(answers[0][0], answers[1][0], atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(answers[0][1], answers[1][1], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize('weighted', [False, True])
@pytest.mark.parametrize('scale', [0.1, 3.0, 30.0])
def test_quality_focal_bce(weighted, scale):
    student, guide = maps(2, 50, 4, scale=scale)
    weights = torch.rand(2, 50) if weighted else None
    same(
        lambda z: quality_focal_bce(z, guide.sigmoid(), torch.tensor(7.0), weights),
        lambda z: reference.quality_focal_bce(z, guide.sigmoid(), torch.tensor(7.0), weights),
        student,
    )


@pytest.mark.parametrize('weighted', [False, True])
def test_quality_focal_bce_in_pieces_and_of_logits(weighted, monkeypatch):
    """Many classes are looked at piece by piece; the guide's scores are made on the way."""
    monkeypatch.setattr('mmpd.losses.response.PIECE', 60)
    student, guide = maps(2, 50, 4, scale=3.0)
    weights = torch.rand(2, 50) if weighted else None
    same(
        lambda z: quality_focal_bce(z, guide, torch.tensor(7.0), weights, as_logits=True),
        lambda z: reference.quality_focal_bce(z, guide.sigmoid(), torch.tensor(7.0), weights),
        student,
    )
    double = maps(2, 3, 4, scale=3.0)[0].double().requires_grad_()
    target, factors = torch.rand(2, 3, 4).double(), torch.rand(2, 3).double()
    assert torch.autograd.gradcheck(lambda z: quality_focal_bce(z, target, torch.tensor(7.0), factors), [double])


@pytest.mark.parametrize('padded', [False, True])
@pytest.mark.parametrize('scale', [1e-3, 1.0, 1e3])
def test_pkd(padded, scale):
    student, guide = maps(2, 5, 6, 7)
    student = student * scale + 2 * scale
    student[:, 1] = 0.5  # a flat channel
    valid = torch.ones(2, 1, 6, 7, dtype=torch.bool)
    if padded:
        valid[1, :, 4:], valid[0, :, :, 5:] = False, False
    same(
        lambda s: pkd_loss(s, guide, valid if padded else None) * scale,
        lambda s: reference.pkd_loss(s, guide, valid) * scale,
        student,
    )


@pytest.mark.parametrize('loss', [pkd_loss, mse_loss, isrd_loss])
def test_no_mask_is_a_mask_of_ones(loss):
    student, guide = maps(2, 3, 6, 7)
    ones = torch.ones(2, 1, 6, 7, dtype=torch.bool)
    same(lambda s: loss(s, guide, None), lambda s: loss(s, guide, ones), student)


def test_location_weights():
    scores = torch.rand(3, 40, 2)
    corners = 20 * torch.rand(3, 40, 2)
    boxes = torch.cat([corners, corners + 1 + 10 * torch.rand(3, 40, 2)], dim=2)
    gts = [boxes[0, :3] + 1, torch.zeros(0, 4), boxes[2, 5:6] + 0.5]
    torch.testing.assert_close(
        location_weights(scores, boxes, gts, 0.4),
        reference.location_weights(scores, boxes, gts, 0.4),
    )


@pytest.mark.parametrize('ratio', [2, '3/2'])
def test_the_response_term_of_few_locations_is_that_of_all(tmp_path, ratio):
    distiller = build_distiller(tmp_path, ratio=ratio, terms=dict(response=dict(type='ResponseTerm')))
    batch = toy_pair_batch(ratio)
    heard: list = []
    term = distiller.terms['response']
    term.register_forward_hook(lambda module, inputs, output: heard.append(inputs[0]))
    losses = first_losses(distiller, batch)
    (step,) = heard
    levels = [(a.response, step.student_responses[a.student]) for a in step.aligned_responses]
    factor = float(step.alignment.ratio)
    weights = [
        reference.location_weights(guide.scores(), guide.boxes / factor, step.gt_boxes(), 0.1) for guide, _ in levels
    ]
    total = sum(weight.sum() for weight in weights).clamp(min=1)
    cls = sum(reference.quality_focal_bce(student.logits, guide.scores(), total) for guide, student in levels)
    bbox = sum(
        reference.weighted_giou(student.boxes, guide.boxes / factor, weight, total)
        for (guide, student), weight in zip(levels, weights, strict=True)
    )
    assert sum(bool((weight > 0).any()) for weight in weights) > 1
    expected = {'loss_response_cls': cls, 'loss_response_bbox': bbox}
    parameters = list(distiller.student.parameters())
    for name, loss in expected.items():
        torch.testing.assert_close(losses[name], loss, atol=1e-6, rtol=1e-6)
        pairs = zip(
            torch.autograd.grad(losses[name], parameters, retain_graph=True, allow_unused=True),
            torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True),
            strict=True,
        )
        for own, theirs in pairs:
            if own is not None and theirs is not None:
                torch.testing.assert_close(own, theirs, atol=1e-6, rtol=1e-4)


def test_bfloat16_stays_near_float32(tmp_path):
    """Under autocast the networks round to 8 bits of mantissa; the terms themselves compute in float32."""
    distiller = build_distiller(tmp_path)
    full = first_losses(distiller)
    with torch.autocast('cpu', torch.bfloat16):
        half = first_losses(distiller)
    for name, value in full.items():
        assert torch.isfinite(half[name]), name
        assert float(half[name]) == pytest.approx(float(value), rel=0.05, abs=0.01), name
