"""What resolution costs the guide, as weights."""

import math

from mmpd.losses.resolution import FLOOR, class_divergence, resolution_weights, score_divergence

import pytest
import torch


def logits(*shape: int, seed: int = 0) -> torch.Tensor:
    return 3 * torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_divergences_are_those_of_loops_over_the_definition():
    hr, lr = logits(2, 3), logits(2, 3, seed=1)
    for row, got in enumerate(class_divergence(hr, lr)):
        p, q = hr[row].softmax(0), lr[row].softmax(0)
        assert float(got) == pytest.approx(sum(float(a * math.log(a / b)) for a, b in zip(p, q, strict=True)))
    hr, lr = hr[None], lr[None]
    for row, got in enumerate(score_divergence(hr, lr)[0]):
        p, q = hr[0, row].sigmoid(), lr[0, row].sigmoid()
        terms = [float(a * math.log(a / b) + (1 - a) * math.log((1 - a) / (1 - b))) for a, b in zip(p, q, strict=True)]
        assert float(got) == pytest.approx(sum(terms))


@pytest.mark.parametrize('divergence', [class_divergence, score_divergence])
def test_sure_answers_stay_finite(divergence):
    hr, lr = torch.tensor([[[200.0, -200.0]]]), torch.tensor([[[-200.0, 200.0]]])
    if divergence is class_divergence:
        hr, lr = hr[0], lr[0]
    assert divergence(hr, lr).isfinite().all() and float(divergence(hr, hr).sum()) == 0


def test_weights_are_one_where_resolution_costs_nothing():
    assert resolution_weights(torch.zeros(5)).tolist() == [1.0] * 5


def test_weights_have_mean_one_and_follow_the_cost():
    cost = torch.tensor([0.0, 0.1, 3.0], dtype=torch.float64)
    weights = resolution_weights(cost)
    assert float(weights.mean()) == pytest.approx(1.0)
    assert weights.tolist() == pytest.approx([(c + FLOOR) / (3.1 / 3 + FLOOR) for c in cost.tolist()])


def test_places_that_do_not_count_weigh_one():
    cost = torch.tensor([[0.0, 5.0, 1.0, 3.0]])
    weights = resolution_weights(cost, torch.tensor([[False, False, True, True]]))
    assert weights[0, :2].tolist() == [1.0, 1.0] and float(weights.mean()) == pytest.approx(1.0)
    assert float(weights[0, 3]) == pytest.approx(1.5, rel=1e-3)
    assert resolution_weights(cost, torch.zeros(1, 4, dtype=torch.bool)).tolist() == [[1.0] * 4]
