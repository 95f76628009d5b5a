"""The RoI term's parts: boxes of one class of each proposal, and what the guide's boxes are worth image by image.

The term between whole two-stage networks is in tests/check/test_families.py.
"""

from types import SimpleNamespace

from mmpd.terms.roi import RoITerm, class_boxes

import pytest
import torch
from mmdet.models.task_modules.coders import DeltaXYWHBBoxCoder


def view(agnostic: bool) -> SimpleNamespace:
    head = SimpleNamespace(reg_class_agnostic=agnostic, bbox_coder=DeltaXYWHBBoxCoder())
    return SimpleNamespace(net=SimpleNamespace(roi_head=SimpleNamespace(bbox_head=head)))


def test_each_proposal_takes_the_deltas_of_its_class():
    """By the coder's definition: centre + delta × side, side × e^delta, for the class that is asked for."""
    rois = torch.tensor([[0.0, 0, 0, 10, 20], [1.0, 10, 10, 30, 20]])
    deltas = torch.zeros(2, 3, 4)
    deltas[0, 2] = torch.tensor([0.1, 0.0, 0.0, 0.0])
    deltas[1, 0] = torch.tensor([0.0, 0.5, 0.0, 0.6931472])
    boxes = class_boxes(view(agnostic=False), rois, deltas.flatten(1), torch.tensor([2, 0]))
    torch.testing.assert_close(boxes, torch.tensor([[1.0, 0, 11, 20], [10, 10, 30, 30]]))
    other = class_boxes(view(agnostic=False), rois, deltas.flatten(1), torch.tensor([1, 1]))
    torch.testing.assert_close(other, rois[:, 1:])


def test_a_class_agnostic_head_has_one_box_for_all():
    rois, deltas = torch.tensor([[0.0, 0, 0, 10, 20]]), torch.tensor([[0.1, 0.0, 0.0, 0.0]])
    for label in (0, 5):
        boxes = class_boxes(view(agnostic=True), rois, deltas, torch.tensor([label]))
        torch.testing.assert_close(boxes, torch.tensor([[1.0, 0, 11, 20]]))


def test_a_box_is_worth_its_confidence_times_its_overlap_in_its_own_image():
    term = RoITerm.__new__(RoITerm)
    torch.nn.Module.__init__(term)
    term.threshold = 0.1
    boxes = torch.tensor([[0.0, 0, 10, 10], [0.0, 0, 10, 10], [0.0, 0, 5, 10]])
    scores = torch.tensor([[0.8, 0.1], [0.8, 0.1], [0.05, 0.6]])
    gt = [torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([[0.0, 0, 10, 10], [50.0, 50, 60, 60]])]
    weights = term._weights(torch.tensor([0, 1, 1]), scores, boxes, gt)
    assert weights.tolist() == pytest.approx([0.8, 0.8, 0.3])
    assert term._weights(torch.tensor([0, 0, 0]), scores, boxes, [torch.zeros(0, 4)]).tolist() == [0, 0, 0]


def test_a_batch_without_a_proposal_costs_nothing():
    """mmdet's own RoI losses take it; a mean over no proposal is NaN."""
    term = RoITerm.__new__(RoITerm)
    torch.nn.Module.__init__(term)
    term.threshold, term.temperature, term.loss_weight, term.box_weight = 0.1, 2.0, 1.0, 1.0
    logits, deltas = torch.zeros(0, 3, requires_grad=True), torch.zeros(0, 8)
    guide, student = view(agnostic=False), view(agnostic=False)
    guide.net.roi_head._bbox_forward = lambda feats, rois: dict(cls_score=logits.detach(), bbox_pred=deltas)
    taps = type('', (dict,), dict(inputs=lambda self, name: ((), torch.zeros(0, 5))))(roi_head=(logits, deltas))
    pair = SimpleNamespace(guide=guide, student=student, ratio=2)
    step = SimpleNamespace(student=taps, alignment=pair, feats_hr=(), gt_boxes=lambda: [torch.zeros(0, 4)] * 2)
    losses = term(step)
    assert [float(loss.detach()) for loss in losses.values()] == [0, 0] and losses['loss_roi_cls'].requires_grad
