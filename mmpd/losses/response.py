"""Response distillation: class scores and boxes of the guide, aligned to the student's locations.

Legend: B = batch, n = locations, C = classes. Boxes in LR pixels. The guide gets no gradient.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import box_iou, generalized_box_iou_loss


def quality_focal_bce(
    logits: Tensor, targets: Tensor, normaliser: Tensor, beta: float = 2.0, weights: Tensor | None = None
) -> Tensor:
    """Σ w · |t - σ(z)|^β · BCE(z, t) / normaliser (quality focal loss, Li et al. 2020, eq. 5, with guide scores as t).

    Zero where student and guide agree, which plain BCE to soft targets is not.

    Args:
        logits: (B, n, C) student. targets: (B, n, C) guide scores in [0, 1].
        normaliser: scalar > 0, the sum of the kept weights of the boxes.
        weights: (B, n); None: 1 everywhere.
    """
    logits, targets = logits.float(), targets.float().detach()
    modulation = (targets - logits.sigmoid()).abs().pow(beta)
    bce = F.binary_cross_entropy_with_logits(logits, targets, reduction='none')
    losses = modulation * bce
    return (losses if weights is None else losses * weights.detach()[..., None]).sum() / normaliser


def location_weights(
    scores: Tensor, boxes_guide: Tensor, gt_boxes: list[Tensor], threshold: float, localisation: bool = True
) -> Tensor:
    """How much each guide location is worth: confidence × IoU of its box with the best ground-truth box ("ours").

    Guides are often confident about badly placed boxes, so confidence alone would teach those; the ground truth of
    the training image is at hand and tells them apart.

    Args:
        scores: (B, n, C) guide scores in [0, 1]; boxes_guide: (B, n, 4); gt_boxes: per image (g, 4), all one unit.
        threshold: confidences below it weigh zero.
        localisation: False leaves the IoU out.

    Returns:
        (B, n) in [0, 1].
    """
    confidence = scores.amax(dim=2)
    weights = torch.where(confidence >= threshold, confidence, torch.zeros_like(confidence))
    if localisation:
        for image, gt in enumerate(gt_boxes):
            kept = weights[image].nonzero().flatten()
            if len(gt) == 0:
                weights[image] = 0
            elif len(kept):
                weights[image, kept] *= box_iou(boxes_guide[image, kept], gt.to(boxes_guide)).amax(dim=1)
    return weights.detach()


def weighted_giou(boxes: Tensor, targets: Tensor, weights: Tensor, normaliser: Tensor) -> Tensor:
    """Σ w · (1 - GIoU) / normaliser over locations with w > 0 (GIoU, Rezatofighi et al. 2019).

    Args:
        boxes, targets: (B, n, 4) student and guide boxes in LR pixels; weights: (B, n).
    """
    kept = weights > 0
    if not bool(kept.any()):
        return boxes.sum() * 0
    losses = generalized_box_iou_loss(boxes[kept].float(), targets[kept].detach().float())
    return (losses * weights[kept]).sum() / normaliser


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
