"""Response distillation: class scores and boxes of the guide, aligned to the student's locations.

Legend: B = batch, n = locations, C = classes. Boxes in LR pixels. The guide gets no gradient.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable
from torchvision.ops import generalized_box_iou_loss

from .overlap import pair_iou

PIECE = 2**16
"""Scores that the class loss looks at together on a CPU: its ten maps of them stay in the cache."""


def quality_focal_bce(
    logits: Tensor, targets: Tensor, normaliser: Tensor, weights: Tensor | None = None, as_logits: bool = False
) -> Tensor:
    """Σ w · (t - σ(z))² · BCE(z, t) / normaliser (quality focal loss, Li et al. 2020, eq. 5, with guide scores as t).

    Zero where student and guide agree, which plain BCE to soft targets is not.

    Args:
        logits: (B, n, C) student. targets: (B, n, C) guide scores in [0, 1].
        normaliser: scalar > 0, the sum of the kept weights of the boxes.
        weights: (B, n); None: 1 everywhere.
        as_logits: the targets are the guide's logits, of whose scores no map is made.
    """
    factors = None if weights is None else weights.detach()
    return _QualityFocal.apply(logits, targets.detach(), factors, as_logits) / normaliser


class _QualityFocal(torch.autograd.Function):
    """Σ w · (t - σ(z))² · BCE(z, t), in float32. Its gradient is made on the way: autograd would keep eight maps."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor, factors: Tensor | None, as_logits: bool) -> Tensor:
        kind = torch.float64 if logits.dtype == torch.float64 else torch.float32
        classes = logits.shape[-1]
        total, parts = logits.new_zeros((), dtype=kind), [logits.reshape(-1, classes), targets.reshape(-1, classes)]
        if factors is not None:
            parts.append(factors.reshape(-1, 1))
        gradient = torch.empty_like(parts[0], dtype=kind) if ctx.needs_input_grad[0] else None
        step = len(parts[0]) if logits.is_cuda else max(PIECE // classes, 1)
        for start in range(0, len(parts[0]), max(step, 1)):
            own = slice(start, start + step)
            z, t, *factor = (part[own].to(kind) for part in parts)
            t = t.sigmoid() if as_logits else t
            scores = z.sigmoid()
            gap = scores - t
            bce = F.binary_cross_entropy_with_logits(z, t, reduction='none')
            focus = gap.square()
            if factor:
                bce.mul_(factor[0])
            total += (focus * bce).sum()
            if gradient is not None:
                # d/dz of the focus: 2 · gap · σ · (1 - σ), of the BCE: gap
                slope = torch.addcmul(scores, scores, scores, value=-1).mul_(bce).mul_(2)
                slope.add_(focus.mul_(factor[0]) if factor else focus)
                torch.mul(slope, gap, out=gradient[own])
        if gradient is not None:
            ctx.save_for_backward(gradient.view(logits.shape))
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor, None, None, None]:
        return ctx.saved_tensors[0] * outer, None, None, None


def location_weights(scores: Tensor, boxes_guide: Tensor, gt_boxes: list[Tensor], threshold: float) -> Tensor:
    """How much each guide location is worth: confidence × IoU of its box with the best ground-truth box ("ours").

    Guides are often confident about badly placed boxes, so confidence alone would teach those; the ground truth of
    the training image is at hand and tells them apart.

    Args:
        scores: (B, n, C) guide scores in [0, 1]; boxes_guide: (B, n, 4); gt_boxes: per image (g, 4), all one unit.
        threshold: confidences below it weigh zero.

    Returns:
        (B, n) in [0, 1].
    """
    confidence = scores.amax(dim=2)
    image, location = (confidence >= threshold).nonzero(as_tuple=True)
    weights = torch.zeros_like(confidence)
    weights[image, location] = spot_weights(confidence[image, location], image, boxes_guide[image, location], gt_boxes)
    return weights.detach()


def spot_weights(confidence: Tensor, image: Tensor, boxes_guide: Tensor, gt_boxes: list[Tensor]) -> Tensor:
    """`location_weights` of m chosen locations: confidence (m,), image (m,) ascending, boxes_guide (m, 4) → (m,)."""
    if not len(image):
        return confidence
    best = [
        pair_iou(gt.to(own), own).amax(dim=0) if len(gt) else own.new_zeros(len(own))
        for own, gt in zip(boxes_guide.split(image.bincount(minlength=len(gt_boxes)).tolist()), gt_boxes, strict=True)
    ]
    return confidence * torch.cat(best).to(confidence)


def weighted_giou(boxes: Tensor, targets: Tensor, weights: Tensor, normaliser: Tensor) -> Tensor:
    """Σ w · (1 - GIoU) / normaliser over locations with w > 0 (GIoU, Rezatofighi et al. 2019).

    Args:
        boxes, targets: (B, n, 4) student and guide boxes in LR pixels; weights: (B, n).
    """
    kept = weights > 0
    if not bool(kept.any()):
        return boxes.sum() * 0
    if not bool(kept.all()):
        boxes, targets, weights = boxes[kept], targets[kept], weights[kept]
    losses = generalized_box_iou_loss(boxes.float(), targets.detach().float())
    return (losses * weights).sum() / normaliser


def distribution_kl(student: Tensor, guide: Tensor, weights: Tensor, normaliser: Tensor, temperature: float) -> Tensor:
    """KL of the distance distributions × T², mean over the R bins and the four sides (LD, Zheng et al. 2022, eq. 5).

    The mean over bins is the scale of mmdet's `KnowledgeDistillationKLDivLoss`, in which LD's published weights are
    given; the sum, which a KL is, would be R = reg_max + 1 times larger (17 for GFL's default).

    Args:
        student, guide: (B, n, 4, R) logits over distances in strides; meaningful only where the strides agree.
        weights: (B, n).
    """
    log_student = F.log_softmax(student.float() / temperature, dim=-1)
    log_guide = F.log_softmax(guide.detach().float() / temperature, dim=-1)
    kl = (log_guide.exp() * (log_guide - log_student)).mean(dim=(-2, -1))
    return (kl * weights).sum() * temperature**2 / normaliser
