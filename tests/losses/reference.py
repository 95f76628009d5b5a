"""The losses written as their formulas, for autograd: slow, and what the fast ones must equal in value and gradient.

Legend: B = batch, n = locations, C = classes or channels.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import box_iou, generalized_box_iou_loss

CONSTANT = 1e-6


def quality_focal_bce(logits: Tensor, targets: Tensor, normaliser: Tensor, weights: Tensor | None = None) -> Tensor:
    logits, targets = logits.float(), targets.float().detach()
    modulation = (targets - logits.sigmoid()).square()
    losses = modulation * F.binary_cross_entropy_with_logits(logits, targets, reduction='none')
    return (losses if weights is None else losses * weights.detach()[..., None]).sum() / normaliser


def location_weights(scores: Tensor, boxes_guide: Tensor, gt_boxes: list[Tensor], threshold: float) -> Tensor:
    confidence = scores.amax(dim=2)
    weights = torch.where(confidence >= threshold, confidence, torch.zeros_like(confidence))
    for image, gt in enumerate(gt_boxes):
        weights[image] *= box_iou(boxes_guide[image], gt).amax(dim=1) if len(gt) else torch.zeros(scores.shape[1])
    return weights


def weighted_giou(boxes: Tensor, targets: Tensor, weights: Tensor, normaliser: Tensor) -> Tensor:
    losses = generalized_box_iou_loss(boxes.flatten(0, 1), targets.flatten(0, 1))
    return (losses * weights.flatten()).sum() / normaliser


def distribution_kl(student: Tensor, guide: Tensor, weights: Tensor, normaliser: Tensor, temperature: float) -> Tensor:
    log_student = F.log_softmax(student / temperature, dim=-1)
    log_guide = F.log_softmax(guide.detach() / temperature, dim=-1)
    kl = (log_guide.exp() * (log_guide - log_student)).mean(dim=(-2, -1))
    return (kl * weights).sum() * temperature**2 / normaliser


def pkd_loss(student: Tensor, guide: Tensor, valid: Tensor) -> Tensor:
    mask = valid.expand(-1, student.shape[1], -1, -1)
    difference = _standardise(student, mask) - _standardise(guide.detach(), mask)
    return difference.square().sum() / (2 * mask.sum())


def _standardise(feature: Tensor, mask: Tensor) -> Tensor:
    feature = feature.float()
    count = mask.sum(dim=(0, 2, 3), keepdim=True).clamp(min=1)
    mean = (feature * mask).sum(dim=(0, 2, 3), keepdim=True) / count
    centred = (feature - mean) * mask
    variance = centred.square().sum(dim=(0, 2, 3), keepdim=True) / count
    varies = variance > (CONSTANT * mean).square() + 1e-20
    return centred * torch.where(varies, variance, torch.inf).rsqrt()
