"""The overlap of boxes, against torchvision."""

from mmpd.losses.overlap import pair_iou

import pytest
import torch
from torchvision.ops import box_iou


@pytest.mark.parametrize('piece', [1, 120, 10**6])
def test_iou_is_torchvisions(piece, monkeypatch):
    monkeypatch.setattr('mmpd.losses.overlap.PIECE', piece)
    generator = torch.Generator().manual_seed(0)
    corners = 30 * torch.rand(50, 2, generator=generator)
    boxes = torch.cat([corners, corners + 1 + 20 * torch.rand(50, 2, generator=generator)], 1)
    torch.testing.assert_close(pair_iou(boxes[:7], boxes), box_iou(boxes[:7], boxes), atol=1e-6, rtol=1e-6)


def test_boxes_without_area_overlap_with_nothing():
    point = torch.tensor([[3.0, 3, 3, 3]])
    assert pair_iou(point, point).tolist() == [[0.0]] == pair_iou(point, torch.tensor([[0.0, 0, 9, 9]])).tolist()
