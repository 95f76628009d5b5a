"""Response losses against hand-worked values and loops."""

import math

from mmpd.losses.response import distribution_kl, location_weights, quality_focal_bce, weighted_giou

import pytest
import torch
from mmdet.models.losses import KnowledgeDistillationKLDivLoss

ONE = torch.tensor(1.0)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def test_quality_focal_hand_worked():
    logits, targets = torch.tensor([[[0.4, -2.0]]]), torch.tensor([[[0.9, 0.1]]])
    expected = 0.0
    for z, t in ((0.4, 0.9), (-2.0, 0.1)):
        p = sigmoid(z)
        expected += abs(t - p) ** 2 * -(t * math.log(p) + (1 - t) * math.log(1 - p))
    assert float(quality_focal_bce(logits, targets, torch.tensor(4.0))) == pytest.approx(expected / 4, rel=1e-5)


def test_quality_focal_weighs_locations():
    logits, targets = torch.tensor([[[0.4, -2.0], [1.0, 0.0]]]), torch.tensor([[[0.9, 0.1], [0.2, 0.6]]])
    each = [float(quality_focal_bce(logits[:, [i]], targets[:, [i]], ONE)) for i in (0, 1)]
    loss = quality_focal_bce(logits, targets, ONE, weights=torch.tensor([[0.5, 0.25]]))
    assert float(loss) == pytest.approx(0.5 * each[0] + 0.25 * each[1], rel=1e-5)


def test_quality_focal_is_zero_in_agreement_and_pulls_towards_the_guide():
    logits = torch.linspace(-4, 4, 9).view(1, 9, 1).requires_grad_()
    targets = logits.detach().sigmoid()
    assert float(quality_focal_bce(logits, targets, ONE)) == 0.0
    quality_focal_bce(logits, torch.full_like(targets, 0.5), ONE).backward()
    assert (logits.grad[0, :4] < 0).all() and (logits.grad[0, 5:] > 0).all()


def test_quality_focal_survives_confident_disagreement_in_half_precision():
    logits = torch.tensor([[[60.0]], [[-60.0]]], dtype=torch.float16)
    loss = quality_focal_bce(logits, torch.tensor([[[0.0]], [[1.0]]]), ONE)
    assert float(loss) == pytest.approx(120.0)


def test_location_weights_hand_worked():
    scores = torch.tensor([[[0.8, 0.1], [0.05, 0.04], [0.2, 0.5]]])
    boxes = torch.tensor([[[0.0, 0, 10, 10], [0, 0, 10, 10], [5, 0, 15, 10]]])
    gt = [torch.tensor([[0.0, 0, 10, 10], [100, 100, 110, 110]])]
    weights = location_weights(scores, boxes, gt, threshold=0.1)
    torch.testing.assert_close(weights, torch.tensor([[0.8, 0.0, 0.5 * 50 / 150]]))


def test_an_image_without_objects_has_no_weight():
    scores, boxes = torch.full((2, 1, 1), 0.9), torch.tensor([[[0.0, 0, 4, 4]]] * 2)
    gt = [torch.zeros(0, 4), torch.tensor([[0.0, 0, 4, 4]])]
    torch.testing.assert_close(location_weights(scores, boxes, gt, 0.1), torch.tensor([[0.0], [0.9]]))


def naive_giou(a: list[float], b: list[float]) -> float:
    inter = max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inter
    hull = (max(a[2], b[2]) - min(a[0], b[0])) * (max(a[3], b[3]) - min(a[1], b[1]))
    return inter / union - (hull - union) / hull


def test_weighted_giou_is_the_weighted_sum():
    boxes = torch.tensor([[[0.0, 0, 10, 10], [3, 4, 9, 8], [0, 0, 1, 1]]])
    targets = torch.tensor([[[5.0, 5, 15, 15], [20, 20, 30, 24], [50, 50, 60, 60]]])
    weights = torch.tensor([[0.5, 0.25, 0.0]])
    expected = sum(
        w * (1 - naive_giou(a, b))
        for a, b, w in zip(boxes[0].tolist(), targets[0].tolist(), [0.5, 0.25, 0.0], strict=True)
    )
    loss = weighted_giou(boxes, targets, weights, torch.tensor(2.0))
    assert float(loss) == pytest.approx(expected / 2, rel=1e-5)


def test_weighted_giou_keeps_the_graph_where_nothing_counts():
    boxes = torch.rand(1, 3, 4, requires_grad=True)
    weighted_giou(boxes, torch.rand(1, 3, 4), torch.zeros(1, 3), ONE).backward()
    assert boxes.grad is not None and not boxes.grad.any()


def test_weighted_giou_is_zero_for_equal_boxes():
    boxes = torch.tensor([[[1.0, 2, 9, 11]]])
    assert float(weighted_giou(boxes, boxes.clone(), torch.ones(1, 1), ONE)) == pytest.approx(0.0, abs=1e-6)


def test_distribution_kl_is_the_weighted_divergence():
    generator = torch.Generator().manual_seed(0)
    student, guide = (torch.randn(1, 2, 4, 5, generator=generator) for _ in range(2))
    weights = torch.tensor([[0.3, 0.0]])
    p, q = torch.softmax(guide / 10, -1), torch.softmax(student / 10, -1)
    expected = float(sum((p[0, 0, side] * (p[0, 0, side] / q[0, 0, side]).log()).sum() for side in range(4)))
    loss = distribution_kl(student, guide, weights, torch.tensor(2.0), 10.0)
    assert float(loss) == pytest.approx(expected / (4 * 5) * 0.3 * 100 / 2, rel=1e-3)
    assert float(distribution_kl(guide, guide, weights, ONE, 10.0)) == 0.0


@pytest.mark.parametrize('bins', [5, 17])
def test_distribution_kl_has_the_scale_of_mmdets(bins):
    """mmdet's LD head averages KnowledgeDistillationKLDivLoss over the four sides: published weights are for that."""
    generator = torch.Generator().manual_seed(0)
    student, guide = (3 * torch.randn(1, 6, 4, bins, generator=generator) for _ in range(2))
    weights = torch.rand(1, 6, generator=generator)
    theirs = KnowledgeDistillationKLDivLoss(T=10)(
        student.view(-1, bins),
        guide.view(-1, bins),
        weight=weights.view(-1, 1).expand(-1, 4).reshape(-1),
        avg_factor=4.0,
    )
    torch.testing.assert_close(distribution_kl(student, guide, weights, ONE, 10.0), theirs)


@pytest.mark.parametrize(
    'loss',
    [
        lambda s, g: quality_focal_bce(s, g.sigmoid(), ONE),
        lambda s, g: weighted_giou(s, g, torch.ones(s.shape[:2]), ONE),
        lambda s, g: distribution_kl(s[..., None, :], g[..., None, :], torch.ones(s.shape[:2]), ONE, 1.0),
    ],
)
def test_no_gradient_reaches_the_guide(loss):
    boxes = torch.tensor([[[0.0, 0, 5, 5], [1, 1, 4, 9]]])
    student, guide = boxes.clone().requires_grad_(), (boxes * 1.2).requires_grad_()
    loss(student, guide).backward()
    assert student.grad.abs().sum() > 0 and guide.grad is None
