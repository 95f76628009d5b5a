"""Where a dense head's own assigner puts the objects of an image: its training targets, without its loss.

A head family is one function, as in `mmpd.heads.base`. Assigners that look at predictions (RTMDet, TOOD, PAA's second
step) have no answer before a network is trained.

Legend: n = locations of all levels, level by level in the order (h, w, A); g = objects of the image.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from mmdet.models.dense_heads import AnchorHead, FCOSHead, PAAHead
from mmdet.models.task_modules.assigners import (
    ATSSAssigner,
    BboxOverlaps2D,
    DynamicSoftLabelAssigner,
    MaxIoUAssigner,
)
from mmdet.models.task_modules.prior_generators import anchor_inside_flags
from mmengine.structures import InstanceData
from torch import Tensor, nn

from ..losses.overlap import pair_iou
from .base import level_priors

Grids = Sequence[tuple[int, int]]
Assign = Callable[[Any, Grids, tuple[int, int], Tensor, Tensor], Tensor | None]
ASSIGNS: dict[type, Assign] = {}
MAX_OVERLAPS = 4_000_000
"""Overlaps of objects and priors that are held at once; images beyond that take turns."""


def register_assign(*head_types: type) -> Callable[[Assign], Assign]:
    """Register `assign(head, grids, image_size, boxes, ignored) -> (n,)` for head classes, see `assigned`."""

    def register(assign: Assign) -> Assign:
        ASSIGNS.update(dict.fromkeys(head_types, assign))
        return assign

    return register


def assigned(
    head: nn.Module | None, grids: Grids, image_size: tuple[int, int], boxes: Tensor, ignored: Tensor
) -> Tensor | None:
    """What each location of a head is trained on in one image.

    Args:
        grids: (h, w) of each level. image_size: (height, width). boxes: (g, 4); ignored: (i, 4) boxes of objects that
            are neither found nor missed. All in pixels of the head's network.

    Returns:
        (n,) int64: 1 + index of the object, 0 background, -1 neither; None where the head's family is unknown or its
        assigner needs predictions.
    """
    for base in type(head).__mro__:
        if base in ASSIGNS:
            return ASSIGNS[base](head, grids, image_size, boxes, ignored)
    return None


def asks_predictions(head: nn.Module | None) -> bool:
    """Whether a head's assigner is RTMDet's, which `assigned_to` can ask."""
    return isinstance(getattr(head, 'assigner', None), DynamicSoftLabelAssigner)


def assigned_to(head: Any, grids: Grids, boxes: Tensor, predicted: Tensor, logits: Tensor) -> Tensor:
    """As `assigned`, for a head that `asks_predictions`, of one class: what its predictions would be trained on.

    Args:
        boxes: (g, 4) objects. predicted: (n, 4) boxes. logits: (n,) scores. Pixels of the head's network.
    """
    priors = torch.cat(head.prior_generator.grid_priors(list(grids), device=boxes.device, with_stride=True))
    found = InstanceData(priors=priors, bboxes=predicted, scores=logits[:, None])
    gt = InstanceData(bboxes=boxes, labels=torch.zeros(len(boxes), dtype=torch.long, device=boxes.device))
    return head.assigner.assign(found, gt).gt_inds


def batch_assigned(
    head: nn.Module | None, grids: Grids, image_size: tuple[int, int], boxes: Sequence[Tensor]
) -> Tensor | None:
    """`assigned` of several images, none of whose boxes (g, 4) is ignored: (B, n), all -1 in an image without boxes."""
    assigner: Any = getattr(head, 'assigner', None)
    if _plain_max_iou(assigner) and _anchors_everywhere(head):
        priors = torch.cat(_all_priors(head, grids, boxes[0].device))
        return max_iou_assigned(assigner, boxes, priors)
    rows = [assigned(head, grids, image_size, own, own.new_zeros(0, 4)) if len(own) else None for own in boxes]
    one = next((row for row in rows if row is not None), None)
    if one is None:
        return None
    return torch.stack([torch.full_like(one, -1) if row is None else row for row in rows])


@register_assign(AnchorHead)
def assign_anchors(head: Any, grids: Grids, image_size: tuple[int, int], boxes: Tensor, ignored: Tensor):
    """MaxIoU and ATSS, as `_get_targets_single` of mmdet's anchor heads calls them, before any sampling."""
    assigner: Any = getattr(head, 'assigner', None)
    if type(assigner) not in (MaxIoUAssigner, ATSSAssigner) or getattr(assigner, 'alpha', None) is not None:
        return None
    levels = _all_priors(head, grids, boxes.device)
    anchors = torch.cat(levels)
    border = head.train_cfg['allowed_border']
    if border < 0 and _plain_max_iou(assigner) and not len(ignored) and len(boxes):
        return max_iou_assigned(assigner, [boxes], anchors)[0]
    everywhere = torch.ones(len(anchors), dtype=torch.bool, device=boxes.device)
    inside = anchor_inside_flags(anchors, everywhere, image_size, border)
    gt = InstanceData(bboxes=boxes, labels=torch.zeros(len(boxes), dtype=torch.long, device=boxes.device))
    arguments = [InstanceData(priors=anchors[inside]), gt, InstanceData(bboxes=ignored)]
    if isinstance(assigner, ATSSAssigner):
        counts = [int(part.sum()) for part in inside.split([len(level) for level in levels])]
        arguments.insert(1, counts)
    result = torch.full((len(anchors),), -1, dtype=torch.long, device=boxes.device)
    result[inside] = assigner.assign(*arguments).gt_inds
    return result


def _anchors_everywhere(head: Any) -> bool:
    """Whether the head is trained by `assign_anchors` on all of its anchors."""
    kinds = (base for base in type(head).__mro__ if base in ASSIGNS)
    return ASSIGNS.get(next(kinds, object)) is assign_anchors and head.train_cfg['allowed_border'] < 0


def _all_priors(head: Any, grids: Grids, device: torch.device) -> list[Tensor]:
    return [level_priors(head.prior_generator, level, (grid[0], grid[1]), device) for level, grid in enumerate(grids)]


def _plain_max_iou(assigner: Any) -> bool:
    """Whether `assign` does nothing that `max_iou_assigned` leaves out."""
    return (
        type(assigner) is MaxIoUAssigner
        and getattr(assigner, 'alpha', None) is None
        and type(assigner.iou_calculator) is BboxOverlaps2D
        and assigner.gpu_assign_thr <= 0
        and getattr(assigner, 'perm_repeat_gt_cfg', None) is None
    )


def max_iou_assigned(assigner: Any, boxes: Sequence[Tensor], priors: Tensor) -> Tensor:
    """What a MaxIoUAssigner gives for the boxes of each image (g, 4) and priors (n, 4), none ignored: (B, n), as
    `assigned`; -1 in an image without boxes.

    mmdet's own takes seven times as long, most of it in a loop over the objects, and a training step asks for it once
    an image (`mmpd.align.placing`).
    """
    counts = [len(own) for own in boxes]
    images = max(MAX_OVERLAPS // (max(*counts, 1) * max(len(priors), 1)), 1)
    if len(boxes) > images:
        parts = [max_iou_assigned(assigner, boxes[i : i + images], priors) for i in range(0, len(boxes), images)]
        return torch.cat(parts)
    result = torch.full((len(boxes), len(priors)), -1, device=priors.device)
    if not any(counts):
        return result
    overlaps = pair_iou(torch.cat(list(boxes)), priors)  # (g of all images, n)
    each = result.new_tensor(counts)
    owner, first = torch.arange(len(boxes), device=priors.device).repeat_interleave(each), each.cumsum(0) - each
    best = torch.stack([
        own.amax(dim=0) if len(own) else own.new_full((len(priors),), -1) for own in overlaps.split(counts)
    ])  # fmt: skip
    low, high = assigner.neg_iou_thr if isinstance(assigner.neg_iou_thr, tuple) else (0.0, assigner.neg_iou_thr)
    result.masked_fill_((best >= low) & (best < high), 0)
    # what is left looks at few pairs: those above the threshold, and each object's best
    top = overlaps.amax(dim=1)
    enough = top.new_tensor(assigner.pos_iou_thr)
    bound = torch.where(top >= assigner.min_pos_iou, top, 2.0) if assigner.match_low_quality else top.new_full((), 2.0)
    one, location = (overlaps >= torch.minimum(bound, enough).view(-1, 1)).nonzero(as_tuple=True)
    overlap, place = overlaps[one, location], owner[one] * len(priors) + location
    number, result = one - first[owner[one]] + 1, result.flatten()
    sure = (overlap >= enough) & (overlap == best.flatten()[place])
    result.scatter_reduce_(0, place[sure], number[sure], 'amin', include_self=False)  # of equal overlaps the first
    if assigner.match_low_quality:
        lifted = overlap == bound[one]
        if not assigner.gt_max_assign_all:
            lifted &= location == overlaps.argmax(dim=1)[one]
        last = torch.zeros_like(result).scatter_reduce(0, place[lifted], number[lifted], 'amax')
        result = torch.where(last > 0, last, result)
    return result.view_as(best)


@register_assign(PAAHead)
def assign_by_losses(head: Any, grids: Grids, image_size: tuple[int, int], boxes: Tensor, ignored: Tensor):
    """PAA: its assigner gives candidates (IoU over 0.1: most of a crowded image), of which the losses choose few."""
    return None


@register_assign(FCOSHead)
def assign_points(head: Any, grids: Grids, image_size: tuple[int, int], boxes: Tensor, ignored: Tensor):
    """FCOS: the smallest object around the point whose longest side distance lies in the level's range."""
    if type(head).get_targets is not FCOSHead.get_targets:  # AutoAssign and CondInst train on something else
        return None
    points = head.prior_generator.grid_priors(list(grids), device=boxes.device)
    # labels that no class has tell the objects apart
    gt = InstanceData(bboxes=boxes, labels=-1 - torch.arange(len(boxes), device=boxes.device))
    labels = torch.cat(head.get_targets(points, [gt])[0])
    return (-labels).clamp(min=0)


def level_grids(strides: Sequence[float], size: tuple[int, int]) -> list[tuple[int, int]]:
    """(h, w) of each level on an image of (height, width) pixels: a pyramid halves with ceil."""
    return [(math.ceil(size[0] / stride), math.ceil(size[1] / stride)) for stride in strides]
