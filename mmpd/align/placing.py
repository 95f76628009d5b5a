"""Responses where guide and student have other priors: the student hears of an object where it is trained on it (ours).

The guide's objects (its confident boxes after NMS) are handed to the student's own assigner, as if they were ground
truth; each location that it makes positive hears the object's scores and box. Every other location hears the guide's
nearest one in place and size, but never of an object: that object has its place elsewhere. Candidates tied to the same
anchor *index* put 56 % of the guide's positives on what the student is trained to call background at ratio 3.

Legend: n = student locations, N = guide locations of all levels, in the order (level, h, w, A); B = batch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.ops import batched_nms

from ..heads.assign import assigned
from ..heads.base import LevelResponse
from .plan import AlignmentPlan, Level

OBJECT_SCORE = 0.05
"""Best score from which a guide location speaks of an object: mmdet's own threshold for detections."""
NMS_IOU = 0.6
MAX_CANDIDATES, MAX_OBJECTS = 1000, 300
CENTRE_RADIUS = 1.5

Grids = Sequence[tuple[int, int]]


def guide_objects(scores: Tensor, boxes: Tensor) -> Tensor:
    """Flat locations of one image's objects, best first.

    Args:
        scores: (N, C) in [0, 1]. boxes: (N, 4).
    """
    best, label = scores.max(dim=1)
    candidates = (best > OBJECT_SCORE).nonzero().flatten()
    if len(candidates) > MAX_CANDIDATES:
        candidates = candidates[best[candidates].topk(MAX_CANDIDATES).indices]
    if not len(candidates):
        return candidates
    kept = batched_nms(boxes[candidates].float(), best[candidates].float(), label[candidates], NMS_IOU)
    return candidates[kept[:MAX_OBJECTS]]


def place_objects(head: nn.Module, levels: Sequence[Level], grids: Grids, boxes: Tensor) -> Tensor:
    """Where the student is trained on objects: by its own assigner; by size where that needs predictions (RTMDet).

    Args:
        head: the student's. levels, grids: its pyramid. boxes: (g, 4) in LR pixels.

    Returns:
        (n,) int64: 1 + index of the object, 0 background, -1 neither.
    """
    size = tuple(round(cells * levels[0].stride) for cells in grids[0])
    placed = assigned(head, grids, size, boxes, boxes.new_zeros(0, 4))  # type: ignore[arg-type]
    return place_by_size(levels, grids, boxes) if placed is None else placed


def place_by_size(levels: Sequence[Level], grids: Grids, boxes: Tensor) -> Tensor:
    """The level nearest in log size takes an object, at the cells inside it within 1.5 strides of its centre (FCOS's
    centre sampling), at least at the cell nearest to the centre; of several objects a cell takes the smallest."""
    sizes = (boxes[:, 2:] - boxes[:, :2]).clamp(min=1e-3).prod(dim=1).sqrt()
    own = torch.stack([(sizes / level.size).log().abs() for level in levels]).argmin(dim=0)
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    parts = []
    for index, (level, grid) in enumerate(zip(levels, grids, strict=True)):
        rows, columns = ((torch.arange(n, device=boxes.device) + level.offset) * level.stride for n in grid)
        points = torch.stack(torch.meshgrid(columns, rows, indexing='xy'), dim=-1).reshape(-1, 1, 2).to(boxes)
        placed = torch.zeros(len(points), dtype=torch.long, device=boxes.device)
        mine = (own == index).nonzero().flatten()
        if len(mine):
            mine = mine[sizes[mine].argsort()]
            distance = (points - centres[mine]).abs().amax(dim=2)  # (cells, objects)
            inside = ((points > boxes[mine, :2]) & (points < boxes[mine, 2:])).all(dim=2)
            taken = inside & (distance < CENTRE_RADIUS * level.stride)
            taken[distance.argmin(dim=0), torch.arange(len(mine), device=boxes.device)] = True
            placed = torch.where(taken.any(dim=1), mine[taken.int().argmax(dim=1)] + 1, 0)
        parts.append(placed.repeat_interleave(max(len(level.anchors), 1)))
    return torch.cat(parts)


@lru_cache(maxsize=256)
def nearest_locations(
    plan: AlignmentPlan, student: int, grid: tuple[int, int], guide_grids: tuple[tuple[int, int], ...]
) -> Tensor:
    """(h·w·A,) for each location of a student level the nearest guide location of all levels, in size, then in place.

    Sizes are compared by log width and height of the priors in HR pixels, points by their level's typical object.
    """
    level = plan.student[student].scaled(plan.ratio)
    starts, start = [], 0
    for guide, (height, width) in zip(plan.guide, guide_grids, strict=True):
        starts.append(start)
        start += height * width * max(len(guide.anchors), 1)
    columns = []
    for shape in _shapes(level):
        g, anchor = min(
            ((g, a) for g, guide in enumerate(plan.guide) for a in range(len(_shapes(guide)))),
            key=lambda which: _shape_distance(shape, _shapes(plan.guide[which[0]])[which[1]]),
        )
        guide = plan.guide[g]
        rows, cols = (
            (((torch.arange(n) + level.offset) * level.stride / guide.stride) - guide.offset)
            .round()
            .long()
            .clamp(0, m - 1)
            for n, m in zip(grid, guide_grids[g], strict=True)
        )
        cells = rows[:, None] * guide_grids[g][1] + cols[None]
        columns.append(starts[g] + cells.flatten() * len(_shapes(guide)) + anchor)
    return torch.stack(columns, dim=1).flatten()


def _shapes(level: Level) -> tuple[tuple[float, float], ...]:
    return level.anchors or ((level.size, level.size),)


def _shape_distance(one: tuple[float, float], other: tuple[float, float]) -> float:
    return sum(abs(math.log(a / b)) for a, b in zip(one, other, strict=True))


@torch.no_grad()
def placed_responses(
    plan: AlignmentPlan, head: Any, guide: Sequence[LevelResponse], grids: Grids
) -> list[LevelResponse]:
    """The guide's responses at every student location, one entry a student level (see the module's docstring).

    A location that is trained on an object hears its centerness there, computed from the guide's box (FCOS, eq. 3): the
    guide's own is that of another place. Other qualities are those of the guide's location.

    Args:
        head: the student's dense head. guide: all levels of the guide, boxes in HR pixels. grids: of the student.

    Returns:
        Levels with boxes in HR pixels and no distributions: distances in strides mean nothing on another grid.
    """
    heard = _join(guide)
    guide_grids = tuple(level.grid for level in guide)
    nearest = torch.cat([nearest_locations(plan, s, tuple(grid), guide_grids) for s, grid in enumerate(grids)])
    index = nearest.to(heard.logits.device).expand(len(heard.logits), -1).clone()  # (B, n)
    placed = torch.zeros_like(index)
    scores = heard.scores()
    for image in range(len(index)):
        objects = guide_objects(scores[image], heard.boxes[image]).flip(0)  # of two for one location, the last wins
        if len(objects):
            boxes_lr = heard.boxes[image, objects].float() / float(plan.ratio)
            placed[image] = place_objects(head, plan.student, grids, boxes_lr)
            taken = placed[image] > 0
            index[image, taken] = objects[placed[image, taken] - 1]
        else:
            placed[image] = -1
    logits = heard.logits.gather(1, index[..., None].expand(-1, -1, heard.logits.shape[2]))
    quiet = math.log(OBJECT_SCORE / (1 - OBJECT_SCORE))
    logits = torch.where(placed[..., None] == 0, logits.clamp(max=quiet), logits)
    boxes = heard.boxes.gather(1, index[..., None].expand(-1, -1, 4))
    quality = None if heard.quality is None else heard.quality.gather(1, index)
    if quality is not None and hasattr(head, 'loss_centerness'):
        quality = torch.where(placed > 0, centerness(plan, grids, boxes).to(quality), quality)
    return _split(plan, grids, LevelResponse(logits, boxes, quality, None, (0, 0), index))


def centerness(plan: AlignmentPlan, grids: Grids, boxes: Tensor) -> Tensor:
    """(B, n) logits of the centerness of each student location in its box (B, n, 4), HR pixels."""
    points = []
    for level, grid in zip(plan.student, grids, strict=True):
        rows, columns = ((torch.arange(n) + level.offset) * level.stride * float(plan.ratio) for n in grid)
        cells = torch.stack(torch.meshgrid(columns, rows, indexing='xy'), dim=-1).reshape(-1, 2)
        points.append(cells.repeat_interleave(max(len(level.anchors), 1), dim=0))
    centre = torch.cat(points).to(boxes)
    sides = torch.stack([centre - boxes[..., :2], boxes[..., 2:] - centre]).clamp(min=0)
    shares = sides.amin(dim=0) / sides.amax(dim=0).clamp(min=1e-6)
    return torch.logit(shares.prod(dim=-1).sqrt(), eps=1e-3)


def _join(levels: Sequence[LevelResponse]) -> LevelResponse:
    """All levels as one."""
    qualities = [level.quality for level in levels if level.quality is not None]
    return LevelResponse(
        logits=torch.cat([level.logits for level in levels], dim=1),
        boxes=torch.cat([level.boxes for level in levels], dim=1),
        quality=torch.cat(qualities, dim=1) if qualities else None,
        distribution=None,
        grid=(0, 0),
    )


def _split(plan: AlignmentPlan, grids: Grids, joined: LevelResponse) -> list[LevelResponse]:
    """One response a student level."""
    cells = [h * w * max(len(level.anchors), 1) for (h, w), level in zip(grids, plan.student, strict=True)]
    logits, boxes = joined.logits.split(cells, dim=1), joined.boxes.split(cells, dim=1)
    qualities = [None] * len(cells) if joined.quality is None else joined.quality.split(cells, dim=1)
    sources = [None] * len(cells) if joined.source is None else joined.source.split(cells, dim=1)
    return [
        LevelResponse(*parts, None, (grid[0], grid[1]), source)
        for *parts, grid, source in zip(logits, boxes, qualities, grids, sources, strict=True)
    ]
