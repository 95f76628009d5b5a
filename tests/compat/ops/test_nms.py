import mmpd  # noqa: F401  (installs the stand-in)
from tests.compat.ops import naive

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmcv.ops import batched_nms, bbox_overlaps, nms, nms_match, soft_nms

DEVICES = ['cpu', *(['cuda'] if torch.cuda.is_available() else [])]


def random_boxes(count: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Crowded boxes, so that many overlap, with distinct scores."""
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator) * 30
    size = torch.rand(count, 2, generator=generator) * 20 + 1
    return torch.cat([corner, corner + size], dim=1), torch.randperm(count, generator=generator) / count


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('offset', [0, 1])
@pytest.mark.parametrize('threshold', [0.1, 0.5, 0.9])
def test_nms(device, offset, threshold):
    boxes, scores = random_boxes(40)
    dets, kept = nms(boxes.to(device), scores.to(device), threshold, offset=offset)
    assert kept.tolist() == naive.nms(boxes, scores, threshold, offset)
    assert torch.equal(dets.cpu(), torch.cat([boxes, scores[:, None]], dim=1)[kept.cpu()])


def test_offset_changes_what_overlaps():
    """Two pixel-index boxes that share one column: IoU 0 as lengths, 2/6 as pixels."""
    boxes = torch.tensor([[0.0, 0, 1, 1], [1, 0, 2, 1]])
    scores = torch.tensor([0.9, 0.8])
    assert len(nms(boxes, scores, 0.3, offset=0)[1]) == 2
    assert len(nms(boxes, scores, 0.3, offset=1)[1]) == 1


def test_nms_score_threshold_and_max_num_give_indices_into_the_input():
    boxes, scores = random_boxes(40)
    _, kept = nms(boxes, scores, 0.5, score_threshold=0.3, max_num=5)
    expected = [i for i in naive.nms(boxes, scores, 0.5) if scores[i] > 0.3][:5]
    assert kept.tolist() == expected


def test_nms_of_nothing_of_numpy_and_of_half():
    boxes, scores = random_boxes(20)
    assert nms(boxes[:0], scores[:0], 0.5)[1].tolist() == []
    dets, kept = nms(boxes.numpy(), scores.numpy(), 0.5)
    assert isinstance(dets, np.ndarray) and kept.tolist() == naive.nms(boxes, scores, 0.5)
    assert nms(boxes.bfloat16(), scores.bfloat16(), 0.5)[0].dtype == torch.bfloat16


def test_batched_nms_is_nms_in_each_class():
    boxes, scores = random_boxes(60)
    labels = torch.arange(60) % 3
    dets, kept = batched_nms(boxes, scores, labels, {'type': 'nms', 'iou_threshold': 0.4})
    expected = []
    for label in range(3):
        members = (labels == label).nonzero().squeeze(1)
        expected += members[naive.nms(boxes[members], scores[members], 0.4)].tolist()
    assert sorted(kept.tolist()) == sorted(expected)
    assert torch.equal(dets[:, 4], scores[kept]) and (dets[:, 4].diff() <= 0).all()


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('method', ['naive', 'linear', 'gaussian'])
def test_soft_nms(device, method):
    boxes, scores = random_boxes(30)
    dets, kept = soft_nms(boxes.to(device), scores.to(device), 0.3, sigma=0.5, min_score=0.05, method=method)
    expected = naive.soft_nms(boxes, scores, 0.3, 0.5, 0.05, method)
    assert kept.tolist() == [i for i, _ in expected]
    assert torch.allclose(dets[:, 4].cpu(), torch.tensor([s for _, s in expected]))
    assert torch.equal(dets[:, :4].cpu(), boxes[kept.cpu()])


def test_soft_nms_leaves_its_input_alone_and_takes_nothing():
    boxes, scores = random_boxes(10)
    before = boxes.clone(), scores.clone()
    soft_nms(boxes, scores)
    assert torch.equal(boxes, before[0]) and torch.equal(scores, before[1])
    assert soft_nms(boxes[:0], scores[:0])[1].tolist() == []


def test_large_boxes_in_half_precision():
    """Their areas are no half numbers: every IoU would be NaN, and nothing be suppressed."""
    boxes = torch.tensor([[0, 0, 500, 500], [4, 4, 504, 504], [600, 0, 700, 100]]).half()
    scores = torch.tensor([0.9, 0.8, 0.7]).half()
    dets, kept = soft_nms(boxes, scores, 0.5, method='naive')
    assert kept.tolist() == [0, 2] and dets.dtype == torch.half
    assert [group.tolist() for group in nms_match(torch.cat([boxes, scores[:, None]], dim=1), 0.5)] == [[0, 1], [2]]


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), count=st.integers(1, 30))
def test_nms_match_groups_every_box_once_under_its_suppressor(seed, count):
    boxes, scores = random_boxes(count, seed)
    groups = [group.tolist() for group in nms_match(torch.cat([boxes, scores[:, None]], dim=1), 0.4)]
    assert sorted(i for group in groups for i in group) == list(range(count))
    assert [group[0] for group in groups] == naive.nms(boxes, scores, 0.4)
    for best, *others in groups:
        assert all(naive.iou(boxes[best].tolist(), boxes[i].tolist()) >= 0.4 for i in others)
        assert [best, *others] == sorted([best, *others], key=lambda i: -float(scores[i]))


@pytest.mark.parametrize('device', DEVICES)
@pytest.mark.parametrize('offset', [0, 1])
def test_bbox_overlaps(device, offset):
    (first, _), (second, _) = random_boxes(7), random_boxes(5, seed=1)
    second[0] = second[0, :2].repeat(2)  # without area
    expected = torch.tensor([[naive.iou(a.tolist(), b.tolist(), offset) for b in second] for a in first])
    areas = (first[:, 2:] - first[:, :2] + offset).prod(dim=1)
    others = (second[:, 2:] - second[:, :2] + offset).prod(dim=1)
    over_first = expected * (areas[:, None] + others) / (1 + expected) / areas[:, None]
    for mode, table in (('iou', expected), ('iof', over_first)):
        found = bbox_overlaps(first.to(device), second.to(device), mode, False, offset).cpu()
        assert torch.allclose(found, table, atol=1e-6)
        pairs = bbox_overlaps(first[:5].to(device), second.to(device), mode, True, offset).cpu()
        assert torch.allclose(pairs, table[:5].diagonal(), atol=1e-6)


def test_bbox_overlaps_of_points_is_zero():
    point = torch.tensor([[3.0, 3.0, 3.0, 3.0]])
    assert bbox_overlaps(point, point).tolist() == [[0.0]]
