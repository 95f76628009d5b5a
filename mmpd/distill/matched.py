"""The same place seen by both networks: maps on one grid, and vectors picked from them.

Legend: (B, c, h, w) student, (B, C, h, w) guide, on the student's grid. Boxes are in LR pixels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..align.plan import Level


@dataclass
class VectorPair:
    """Row i of `student` (n, c) and `guide` (n, C) is one place; `level` is the student's map that it is from."""

    level: int
    student: Tensor
    guide: Tensor


@dataclass
class MapPair:
    """Maps of both networks on one grid; `valid` (B, 1, h, w) bool is False on padding. `level`: the student's map."""

    level: int
    student: Tensor
    guide: Tensor
    valid: Tensor

    def vectors(self, cells: Tensor, limit: int) -> VectorPair:
        """The vectors of `cells` (B, 1, h, w) bool, at most `limit`.

        Evenly spaced over batch, rows and columns, so no generator is drawn from: a resumed run picks the same ones,
        and the term changes no random number of the rest of the step.
        """
        index = cells.flatten().nonzero().flatten()
        if len(index) > limit:
            index = index[torch.arange(limit, device=index.device) * len(index) // limit]
        student, guide = (maps.movedim(1, -1).flatten(0, -2)[index] for maps in (self.student, self.guide))
        return VectorPair(self.level, student, guide)


def pooled_maps(feats_lr: Sequence[Tensor], feats_hr: Sequence[Tensor]) -> MapPair:
    """The mean over the cells of each network's last map: (B, c, 1, 1) and (B, C, 1, 1)."""
    student, guide = (feats[-1].mean((2, 3), keepdim=True) for feats in (feats_lr, feats_hr))
    return MapPair(len(feats_lr) - 1, student, guide, torch.ones_like(student[:, :1], dtype=torch.bool))


def cell_vectors(
    pairs: Sequence[MapPair], levels: Sequence[Level], gt_boxes: list[Tensor], limit: int
) -> list[VectorPair]:
    """Cells whose centre lies in an object, each object on the level whose typical object is nearest to it in size.

    An object between the centres has the cell that holds its own centre.

    Args:
        levels: of the student, LR pixels. gt_boxes: per image (g, 4).

    Returns:
        One a pair; it may hold no vector.
    """
    sizes = torch.tensor([math.log(levels[pair.level].size) for pair in pairs])
    masks = [torch.zeros_like(pair.valid) for pair in pairs]
    for image, boxes in enumerate(gt_boxes):
        boxes = boxes.detach().float()
        if not len(boxes):
            continue
        sides = (boxes[:, 2:] - boxes[:, :2]).clamp(min=1e-3)
        nearest = (sides.log().mean(1)[:, None] - sizes.to(boxes)).abs().argmin(1)
        for index, (pair, mask) in enumerate(zip(pairs, masks, strict=True)):
            mask[image, 0] |= inside(boxes[nearest == index], mask.shape[-2:], levels[pair.level].stride)
    return [pair.vectors(mask & pair.valid, limit) for pair, mask in zip(pairs, masks, strict=True)]


def inside(boxes: Tensor, grid: Sequence[int], stride: float) -> Tensor:
    """(h, w) bool: cells of a grid of so many pixels each whose centre is in one of the boxes (g, 4)."""
    covered = []
    for axis, cells in enumerate(grid):
        low, high = boxes[:, 1 - axis, None], boxes[:, 3 - axis, None]
        centres = (torch.arange(cells, device=boxes.device) + 0.5) * stride
        between = (centres >= low) & (centres < high)
        own = ((low + high) / 2 / stride).floor().clamp(0, cells - 1)
        alone = torch.arange(cells, device=boxes.device) == own
        covered.append(torch.where(between.any(1, keepdim=True), between, alone))
    return (covered[0][:, :, None] & covered[1][:, None, :]).any(0)
