"""Overlap and suppression operators of `mmcv._ext`. Boxes are (N, 4) as x1, y1, x2, y2; any one unit of length."""

from collections.abc import Callable
from typing import Any

import torch
import torchvision
from torch import Tensor

from .precision import full_precision


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int) -> Tensor:
    """Greedy suppression of boxes with IoU > iou_threshold to a better one.

    Args:
        boxes: (N, 4). scores: (N,).
        iou_threshold: in [0, 1].
        offset: 1 for sides of x2 - x1 + 1 (pixel indices), 0 for x2 - x1.

    Returns:
        (K,) int64 indices of the kept boxes, best score first.
    """
    boxes, scores = full_precision(boxes, scores)
    if offset:
        # A box of side x2 - x1 + 1 is the box with its far corner moved by 1: areas and intersections both follow.
        boxes = boxes + boxes.new_tensor([0, 0, offset, offset])
    return torchvision.ops.nms(boxes, scores, iou_threshold)


def _iou_to_others(box: Tensor, others: Tensor, offset: int) -> Tensor:
    """IoU of one box (4,) to (M, 4) boxes: (M,). Zero-area pairs give NaN, which no threshold suppresses."""
    far_corner = torch.minimum(box[2:], others[:, 2:])
    near_corner = torch.maximum(box[:2], others[:, :2])
    intersection = (far_corner - near_corner + offset).clamp(min=0).prod(dim=1)
    area = (box[2:] - box[:2] + offset).prod()
    other_areas = (others[:, 2:] - others[:, :2] + offset).prod(dim=1)
    return intersection / (area + other_areas - intersection)


def _decay(iou: Tensor, method: int, iou_threshold: float, sigma: float) -> Tensor:
    """Factor on the scores of the remaining boxes: method 0 naive, 1 linear, 2 gaussian (Soft-NMS, eq. 2 and 3)."""
    if method == 2:
        return torch.exp(-iou.square() / sigma)
    reduced = torch.zeros_like(iou) if method == 0 else 1 - iou
    return torch.where(iou >= iou_threshold, reduced, torch.ones_like(iou))


def softnms(
    boxes: Tensor,
    scores: Tensor,
    dets: Tensor,
    iou_threshold: float,
    sigma: float,
    min_score: float,
    method: int,
    offset: int,
) -> Tensor:
    """Soft-NMS (Bodla et al., 2017): overlapping boxes lose score instead of being dropped.

    Args:
        boxes: (N, 4). scores: (N,).
        dets: (N, 5), written: row k is the k-th best box with its decayed score.
        min_score: a box falls out once its score is below it; the best box of all is always kept, as in mmcv.

    Returns:
        (K,) int64 indices into boxes, in the order of the first K rows of dets.
    """
    boxes, scores = full_precision(boxes, scores)  # areas above 65504 are infinite in half precision
    remaining = torch.arange(len(boxes), device=boxes.device)
    scores = scores.clone()
    kept: list[Tensor] = []
    while remaining.numel():
        best_position = scores[remaining].argmax()
        best = remaining[best_position]
        dets[len(kept), :4] = boxes[best]
        dets[len(kept), 4] = scores[best]
        kept.append(best)
        remaining = torch.cat([remaining[:best_position], remaining[best_position + 1 :]])
        iou = _iou_to_others(boxes[best], boxes[remaining], offset).nan_to_num(0)
        scores[remaining] *= _decay(iou, method, iou_threshold, sigma)
        remaining = remaining[scores[remaining] >= min_score]
    return torch.stack(kept) if kept else remaining


def nms_match(dets: Tensor, iou_threshold: float) -> list[list[int]]:
    """Greedy NMS that remembers: for every kept box, itself and the boxes it suppressed (IoU >= iou_threshold).

    Args:
        dets: (N, 5) boxes with scores.

    Returns:
        One list of indices for each kept box, best score first, within a group too.
    """
    (dets,) = full_precision(dets)
    order = dets[:, 4].argsort(descending=True, stable=True)
    groups: list[list[int]] = []
    while order.numel():
        best, others = order[0], order[1:]
        suppressed = _iou_to_others(dets[best, :4], dets[others, :4], offset=0) >= iou_threshold
        groups.append([int(best), *others[suppressed].tolist()])
        order = others[~suppressed]
    return groups


def bbox_overlaps(bboxes1: Tensor, bboxes2: Tensor, ious: Tensor, mode: int, aligned: bool, offset: int) -> None:
    """Write the overlap of boxes (M, 4) and (N, 4) to ious: (M, N), or (M,) of the pairs where aligned.

    Args:
        mode: 0 for intersection over union, 1 for intersection over the area of the first box.
        offset: as for `nms`. Where both areas are 0, the overlap is 0 (mmcv: NaN).
    """
    first, second = full_precision(bboxes1, bboxes2)
    first = first if aligned else first[:, None]
    near, far = torch.maximum(first[..., :2], second[..., :2]), torch.minimum(first[..., 2:], second[..., 2:])
    intersection = (far - near + offset).clamp(min=0).prod(dim=-1)
    areas = [(boxes[..., 2:] - boxes[..., :2] + offset).prod(dim=-1) for boxes in (first, second)]
    whole = areas[0] + areas[1] - intersection if mode == 0 else areas[0]
    ious.copy_(torch.where(intersection > 0, intersection / whole, 0.0))


OPERATORS: dict[str, Callable[..., Any]] = {
    'nms': nms,
    'softnms': softnms,
    'nms_match': nms_match,
    'bbox_overlaps': bbox_overlaps,
}
