"""RoI heads of two-stage detectors, compared on the student's own proposals.

Legend: N = proposals of the batch, C = classes (without background). RoIs are (N, 5): image index, x1 y1 x2 y2.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from mmdet.registry import MODELS
from torch import Tensor, nn

from ..align.alignment import Alignment
from ..distill.step import Step
from ..distill.view import NetworkView
from ..errors import ConfigError
from ..losses.kd import kd_loss
from ..losses.response import location_weights, weighted_giou
from .base import BoxTerm


@MODELS.register_module()
class RoITerm(BoxTerm):
    """The guide's RoI head on the student's proposals × ratio: KL of the classes, GIoU of the decoded boxes ("ours").

    No alignment of grids is needed: the student's sampled proposals (ground truth included) are boxes, and times ratio
    they are boxes on the guide's image, where the guide's own RoI head says class and box. Boxes of the guide's best
    class weigh its confidence × IoU with the ground truth; the normaliser is the sum of these weights, at least 1.

    Args:
        options: see `BoxTerm`; the temperature is that of the classes' softmax, and the loss is × T².

    Raises:
        ConfigError: a network without a plain RoI head (none, or a cascade of several).
    """

    default_temperature = 2.0
    retired: ClassVar = dict(localisation=True)

    def __init__(self, alignment: Alignment, **options: float) -> None:
        super().__init__(alignment, **options)
        for owner, view in (('guide', alignment.guide), ('student', alignment.student)):
            head = getattr(getattr(view.net, 'roi_head', None), 'bbox_head', None)
            if head is None or isinstance(head, nn.ModuleList):
                has = 'no RoI head' if head is None else 'a cascade of RoI heads'
                raise ConfigError(
                    f'terms.roi: the {owner}, {type(view.net).__name__}, has {has}; remove terms.roi (terms.roi = None)'
                )

    def forward(self, step: Step) -> dict[str, Tensor]:
        rois_lr = step.student.inputs('roi')[1]
        logits, deltas = step.student['roi_head'][:2]
        ratio = float(step.alignment.ratio)
        with torch.no_grad():
            rois_hr, guide = self.run_guide(step)
            scores = guide['cls_score'].float().softmax(dim=1)[:, :-1]  # the last class is background
            labels = scores.argmax(dim=1)
            boxes_guide = class_boxes(step.alignment.guide, rois_hr, guide['bbox_pred'], labels) / ratio
            weights = self._weights(rois_lr[:, 0], scores, boxes_guide, step.gt_boxes())
        boxes = class_boxes(step.alignment.student, rois_lr, deltas, labels)
        loss_cls = kd_loss(logits, guide['cls_score'], self.temperature) if len(logits) else logits.sum()
        loss_bbox = weighted_giou(boxes[None], boxes_guide[None], weights[None], weights.sum().clamp(min=1.0))
        return {
            'loss_roi_cls': self.loss_weight * loss_cls,
            'loss_roi_bbox': self.loss_weight * self.box_weight * loss_bbox,
        }

    @staticmethod
    def run_guide(step: Step) -> tuple[Tensor, dict[str, Tensor]]:
        """The guide's RoI head on the student's proposals: they in HR pixels (N, 5), and what mmdet's RoI head returns.
        It is nearly all that the term costs."""
        rois_lr = step.student.inputs('roi')[1]
        rois_hr = torch.cat([rois_lr[:, :1], rois_lr[:, 1:] * float(step.alignment.ratio)], dim=1)
        return rois_hr, step.alignment.guide.net.roi_head._bbox_forward(step.feats_hr, rois_hr)

    def _weights(self, image_of: Tensor, scores: Tensor, boxes: Tensor, gt_boxes: list[Tensor]) -> Tensor:
        """(N,) in [0, 1], see `location_weights`; boxes and gt_boxes in LR pixels."""
        weights = boxes.new_zeros(len(boxes))
        for image, gt in enumerate(gt_boxes):
            own = image_of == image
            weights[own] = location_weights(scores[own][None], boxes[own][None], [gt], self.threshold)[0].to(weights)
        return weights


def class_boxes(view: NetworkView, rois: Tensor, deltas: Tensor, labels: Tensor) -> Tensor:
    """Boxes that a RoI head predicts for one class of each proposal.

    Args:
        rois: (N, 5), pixels of this network's input. deltas: (N, 4·C), or (N, 4) where the head is class-agnostic.
        labels: (N,) class in [0, C).

    Returns:
        (N, 4), pixels of this network's input.
    """
    head = view.net.roi_head.bbox_head
    deltas = deltas.float()
    if not head.reg_class_agnostic:
        deltas = deltas.unflatten(1, (-1, 4))[torch.arange(len(deltas), device=deltas.device), labels]
    return head.bbox_coder.decode(rois[:, 1:].float(), deltas)
