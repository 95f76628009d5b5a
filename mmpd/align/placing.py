"""Responses where guide and student have other priors: the student hears of an object where it is trained on it (ours).

The guide's objects (its confident boxes after NMS) are handed to the student's own assigner, as if they were ground
truth; each location that it makes positive hears the object's scores and box. A small object has few positives in LR:
where more locations of the guide speak of it, the ones nearest to it hear the others, up to nine in all. Every other
location hears the guide's nearest one in place and size, but of no object: that object has its place elsewhere.

Legend: n = student locations, N = guide locations of all levels, in the order (level, h, w, A); B = batch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from mmdet.models.dense_heads import AutoAssignHead, PAAHead
from mmdet.models.task_modules.coders import DistancePointBBoxCoder
from torch import Tensor, nn

from ..heads.assign import batch_assigned
from ..heads.response import LazyResponse, LevelResponse, joined
from ..losses.overlap import pair_iou
from .memo import Memo
from .objects import OBJECT_SCORE, guide_objects
from .plan import AlignmentPlan, Level, Match

SPREAD, SPREAD_IOU = 9, 0.1
"""An object is heard at up to so many locations (ATSS's k), as far as their priors overlap with it by this IoU."""
CENTRE_RADIUS = 1.5
NO_CENTERNESS = (AutoAssignHead, PAAHead)
"""They inherit from heads with a centerness, and mean an objectness and an IoU by that output."""

Grids = tuple[tuple[int, int], ...]


def place_objects(head: nn.Module, levels: Sequence[Level], grids: Grids, boxes: Sequence[Tensor]) -> Tensor:
    """Where the student is trained on objects: by its own assigner; by size where that needs predictions (RTMDet).

    Args:
        head: the student's. levels, grids: its pyramid. boxes: of each image (g, 4) in LR pixels.

    Returns:
        (B, n) int64: 1 + index of the object, 0 background, -1 neither, and everywhere in an image without objects.
    """
    size = (round(grids[0][0] * levels[0].stride), round(grids[0][1] * levels[0].stride))
    placed = batch_assigned(head, grids, size, boxes)
    return torch.stack([place_by_size(levels, grids, own) for own in boxes]) if placed is None else placed


def place_by_size(levels: Sequence[Level], grids: Grids, boxes: Tensor) -> Tensor:
    """The level nearest in log size takes an object, at the cells inside it within 1.5 strides of its centre (FCOS's
    centre sampling), at least at the cell nearest to the centre; of several objects a cell takes the smallest."""
    if not len(boxes):
        n = sum(
            height * width * max(len(level.anchors), 1) for level, (height, width) in zip(levels, grids, strict=True)
        )
        return torch.full((n,), -1, device=boxes.device)
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


@lru_cache(maxsize=64)
def prior_boxes(levels: tuple[Level, ...], grids: Grids, device: torch.device) -> Tensor:
    """(n, 4) priors of all levels in their network's pixels; those of points have the side of their typical object."""
    parts = []
    for level, grid in zip(levels, grids, strict=True):
        rows, columns = ((torch.arange(n) + level.offset) * level.stride for n in grid)
        centres = torch.stack(torch.meshgrid(columns, rows, indexing='xy'), dim=-1).reshape(-1, 1, 2)
        halves = torch.tensor(_shapes(level)) / 2
        parts.append(torch.cat([centres - halves, centres + halves], dim=2).reshape(-1, 4))
    return torch.cat(parts).to(device)


def spread(
    placed: Tensor, priors: Tensor, boxes: Sequence[Tensor], counts: Tensor, inside: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """More locations for objects with few positives: as many as speak of them, at most SPREAD, the nearest first.

    Nearest is the largest IoU of prior and box, above SPREAD_IOU; a location goes to the nearest of such objects.

    Args:
        placed: (B, n) see `place_objects`. priors: (n, 4). boxes: of each image (m, 4), in the same pixels.
        counts: (M,) of the objects of all images, one image after the other.
        inside: the centre of a prior must lie in the box, for heads that measure distances from it to the sides.

    Returns:
        place, object, rank: (e,) each. place: image · n + location. object: of all images. rank: which of the object's
        locations it is, after its positives.
    """
    n, each = len(priors), counts.new_tensor([len(own) for own in boxes])
    first, taken = each.cumsum(0) - each, (placed > 0).nonzero(as_tuple=True)
    positives = (first[taken[0]] + placed[taken] - 1).bincount(minlength=len(counts))
    short = (counts.clamp(max=SPREAD) - positives).clamp(min=0)
    few = short.nonzero().flatten()
    wanted = torch.cat(list(boxes))[few]
    overlap = pair_iou(wanted, priors)
    which, location = (overlap > SPREAD_IOU).nonzero(as_tuple=True)
    near = overlap[which, location]
    place = torch.arange(len(boxes), device=few.device).repeat_interleave(each)[few[which]] * n + location
    kept = placed.flatten()[place] <= 0
    if inside:
        centres = ((priors[:, :2] + priors[:, 2:]) / 2)[location]
        kept &= ((centres > wanted[which, :2]) & (centres < wanted[which, 2:])).all(dim=1)
    which, place, near = which[kept], place[kept], near[kept]
    most = near.new_zeros(placed.numel()).scatter_reduce(0, place, near, 'amax')
    kept = near == most[place]
    owner = few.new_full((placed.numel(),), len(few)).scatter_reduce(0, place[kept], which[kept], 'amin')
    kept &= which == owner[place]  # of equal overlaps the first
    which, place, near = few[which[kept]], place[kept], near[kept]
    order = (2.0 * which.double() - near).argsort(stable=True)  # by object, then by nearness in [0, 1]: exact in double
    which, place = which[order], place[order]
    found = which.bincount(minlength=len(counts))
    rank = torch.arange(len(which), device=which.device) - (found.cumsum(0) - found)[which]
    kept = rank < short[which]
    return place[kept], which[kept], (positives[which] + rank)[kept]


@lru_cache(maxsize=64)
def nearest_of_all(plan: AlignmentPlan, grids: Grids, guide_grids: Grids, device: torch.device) -> Tensor:
    """(n,) `nearest_locations` of all student levels."""
    parts = [nearest_locations(plan, level, grid, tuple(guide_grids)) for level, grid in enumerate(grids)]
    return torch.cat(parts).to(device)


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


def placing(
    plan: AlignmentPlan, head: Any, guide: LevelResponse, grids: Grids, guide_grids: Grids
) -> tuple[Tensor, Tensor]:
    """The guide's location (B, n) that each student location hears, and what it is trained on, as `place_objects` says.
    An image's rows don't depend on the others of its batch."""
    nearest = nearest_of_all(plan, grids, guide_grids, guide.best.device)
    index = nearest.expand(len(guide.best), -1).clone()
    # of two objects for one location mmdet's assigners let the last win: the surer one
    objects = guide_objects(guide)
    boxes = [found.boxes / float(plan.ratio) for found in objects]
    placed = place_objects(head, plan.student, grids, boxes)
    inside = isinstance(getattr(head, 'bbox_coder', None), DistancePointBBoxCoder)
    counts, speakers = (torch.cat(parts) for parts in zip(*((o.counts, o.speakers) for o in objects), strict=True))
    more, which, rank = spread(placed, prior_boxes(plan.student, grids, index.device), boxes, counts, inside)
    each = counts.new_tensor([len(own) for own in boxes])
    first, start = each.cumsum(0) - each, counts.cumsum(0) - counts  # of each image's objects, each object's speakers
    images, location = (placed > 0).nonzero(as_tuple=True)
    index[images, location] = speakers[start[first[images] + placed[images, location] - 1]]
    index.view(-1)[more] = speakers[start[which] + rank]
    placed.view(-1)[more] = which - first[more // placed.shape[1]] + 1
    return index, placed


@torch.no_grad()
def placed_responses(
    plan: AlignmentPlan,
    head: Any,
    guide: Sequence[LevelResponse],
    grids: Sequence[tuple[int, int]],
    memo: Memo | None = None,
    windows: Sequence[Match] = (),
) -> list[LevelResponse]:
    """The guide's responses at every student location, one entry a student level (see the module's docstring).

    A location that is trained on an object hears its centerness there, computed from the guide's box (FCOS, eq. 3): the
    guide's own is that of another place. Other qualities are those of the guide's location.

    Args:
        head: the student's dense head. guide: all levels of the guide, boxes in HR pixels. grids: of the student.
        memo: where the placing of an image that comes back is kept, beside the guide's outputs.
        windows: levels that hear their own level of the guide, location by location, as it is.

    Returns:
        Levels with boxes in HR pixels; no distributions but of windows: distances in strides mean nothing on another
        grid.
    """
    whole = joined(guide)
    grids = tuple((grid[0], grid[1]) for grid in grids)
    counts = [
        height * width * max(len(level.anchors), 1) for level, (height, width) in zip(plan.student, grids, strict=True)
    ]
    key = ('placing', plan.ratio, grids)
    index, placed = memo.recall(key, whole.best.device) if memo else (None, None)
    if index is None or placed is None:
        index, placed = placing(plan, head, whole, grids, tuple(level.grid for level in guide))
        for match in windows:
            own = slice(sum(counts[: match.student]), sum(counts[: match.student + 1]))
            first = sum(level.count for level in guide[: match.guides[0]])
            index[:, own] = torch.arange(first, first + counts[match.student], device=index.device)
            placed[:, own] = -1
        if memo:
            memo.remember(key, (index.int(), placed.short()))
    index, placed = index.long(), placed.long()
    heard = _heard(whole, index, placed == 0)
    if heard.quality is not None and hasattr(head, 'loss_centerness') and not isinstance(head, NO_CENTERNESS):
        images, location = (placed > 0).nonzero(as_tuple=True)
        boxes = heard.boxes_at(images, location)
        heard.quality[images, location] = centerness(plan, grids, location, boxes).to(heard.quality)
    levels = heard.split(counts, grids)
    for match in windows:
        levels[match.student].distribution = guide[match.guides[0]].distribution
    return list(levels)


def _heard(guide: LevelResponse, index: Tensor, quiet: Tensor) -> LazyResponse:
    """What the guide says at its locations index (B, n), of no object where quiet (B, n). Boxes are made when they are
    asked for."""
    images, limit = torch.arange(len(index), device=index.device)[:, None], math.log(OBJECT_SCORE / (1 - OBJECT_SCORE))

    def at(image: Tensor, location: Tensor) -> Tensor:
        return guide.boxes_at(image, index[image, location])

    logits = guide.logits_at(images.expand_as(index).flatten(), index.flatten()).unflatten(0, index.shape)
    best = guide.best.gather(1, index)
    loud = (quiet & (best > limit)).nonzero(as_tuple=True)
    logits[loud] = logits[loud].clamp(max=limit)
    quality = None if guide.quality is None else guide.quality.gather(1, index)
    heard = LazyResponse(logits, quality, None, (1, index.shape[1]), at, index)
    heard.best = torch.where(quiet, best.clamp(max=limit), best)
    return heard


def centerness(plan: AlignmentPlan, grids: Grids, location: Tensor, boxes: Tensor) -> Tensor:
    """(m,) logits of the centerness of m student locations (of all levels) in their boxes (m, 4), HR pixels."""
    points = []
    for level, grid in zip(plan.student, grids, strict=True):
        rows, columns = ((torch.arange(n) + level.offset) * level.stride * float(plan.ratio) for n in grid)
        cells = torch.stack(torch.meshgrid(columns, rows, indexing='xy'), dim=-1).reshape(-1, 2)
        points.append(cells.repeat_interleave(max(len(level.anchors), 1), dim=0))
    centre = torch.cat(points).to(boxes)[location]
    sides = torch.stack([centre - boxes[:, :2], boxes[:, 2:] - centre]).clamp(min=0)
    shares = sides.amin(dim=0) / sides.amax(dim=0).clamp(min=1e-6)
    return torch.logit(shares.prod(dim=1).sqrt(), eps=1e-3)
