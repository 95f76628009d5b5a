"""Does the guide speak where the student is trained to listen? An oracle guide tells (DESIGN §3.2, ours).

The oracle has objects exactly where the guide's own assigner puts positives, and nothing elsewhere. Through the
alignment it should be heard where the student's own assigner puts positives, and nowhere that the student is trained on
background. A guide's AP through the alignment cannot see this: it measures boxes, not where they land.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..heads.assign import asks_predictions, assigned, assigned_to, level_grids
from ..heads.base import LevelResponse
from .placing import place_by_size, prior_boxes
from .positives import Annotated

if TYPE_CHECKING:
    from .alignment import Alignment

SURE = 6.0
RECEIVED, CONFLICT = 0.95, 0.10
"""The bar: at least this share received, at most this share in conflict."""


@dataclass(frozen=True)
class OracleCheck:
    """Counts over the images; locations of the student unless said otherwise.

    Attributes:
        positives: trained on an object. received: of these, those that hear of that object.
        heard: that hear of any object. conflict: of these, those trained on background.
        objects: with a positive in both networks. lost: of these, those that no student location hears of.
        agreeing: positives are those of a student that agrees, see `oracle_check`. Its assigner takes more cells than
            hear, as many as the overlaps of the best add up to, so no share of them is asked for.
    """

    positives: int
    received: int
    heard: int
    conflict: int
    objects: int
    lost: int
    agreeing: bool = False

    @property
    def received_share(self) -> float:
        """Of the student's positives, those that hear of their object; NaN without a positive."""
        return self.received / self.positives if self.positives else float('nan')

    @property
    def conflict_share(self) -> float:
        """Of the locations that hear of an object, those trained on background."""
        return self.conflict / self.heard if self.heard else 0.0

    def __str__(self) -> str:
        if not self.positives:
            return 'an oracle guide cannot be heard: the student has no positive on the images that were looked at'
        bar = 'of one that agrees' if self.agreeing else f'bar {RECEIVED:.0%}'
        return (
            f"an oracle guide: {self.received_share:.1%} of the student's positives hear of their object ({bar}), "
            f'{self.conflict_share:.1%} of what it hears lies on its background (bar {CONFLICT:.0%}), '
            f'{self.lost} of {self.objects} objects are not heard of'
        )

    @property
    def passed(self) -> bool:
        """Whether both shares meet the bar."""
        heard = bool(self.positives) if self.agreeing else self.received_share >= RECEIVED
        return heard and self.conflict_share <= CONFLICT


@torch.no_grad()
def oracle_check(alignment: Alignment, images: Iterable[Annotated]) -> OracleCheck | None:
    """Send an oracle guide through an alignment.

    Args:
        images: LR training images, see `annotated_images`.

    Returns:
        None where a head is unknown, one of the assigners needs predictions, or there are no images. RTMDet's needs
        them too, and is given those of networks that agree: the guide speaks at the cells in the middle of each
        object (`place_by_size`), and the student's assigner is asked about a student that says what it hears.
    """
    totals = torch.zeros(6, dtype=torch.long)
    ratio = float(alignment.ratio)
    for image in images:
        image_hr = image.scaled(ratio)
        grids = level_grids([level.stride for level in alignment.plan.student], image.size)
        grids_hr = level_grids([level.stride for level in alignment.plan.guide], image_hr.size)
        head, head_hr = alignment.student.head, alignment.guide.head
        if asks_predictions(head_hr):
            spoken: Tensor | None = place_by_size(alignment.plan.guide, tuple(grids_hr), image_hr.boxes)
        else:
            spoken = assigned(head_hr, grids_hr, image_hr.size, image_hr.boxes, image_hr.ignored)
        if spoken is None:
            return None
        heard = _heard(alignment, _oracle(alignment, spoken, grids_hr, image_hr.boxes), grids, image_hr.boxes)
        if asks_predictions(head):
            targets: Tensor | None = _of_an_agreeing_student(alignment, grids, heard, image.boxes)
        else:
            targets = assigned(head, grids, image.size, image.boxes, image.ignored)
        if targets is None:
            return None
        totals += _counts(targets, spoken, heard)
    agrees = asks_predictions(alignment.student.head)
    return OracleCheck(*totals.tolist(), agrees) if totals.any() else None  # type: ignore[call-arg]


def _oracle(alignment: Alignment, spoken: Tensor, grids: list[tuple[int, int]], boxes: Tensor) -> list[LevelResponse]:
    """Responses of a guide that is sure of its positives' objects and boxes, and of nothing else."""
    levels, start = [], 0
    for level, (height, width) in zip(alignment.plan.guide, grids, strict=True):
        n = height * width * max(len(level.anchors), 1)
        own = spoken[start : start + n]
        start += n
        logits = torch.where(own > 0, SURE, -SURE)[None, :, None]
        placed = torch.cat([boxes.new_zeros(1, 4), boxes])[own.clamp(min=0)][None]
        levels.append(LevelResponse(logits, placed, None, None, (height, width)))
    return levels


def _of_an_agreeing_student(alignment: Alignment, grids: list[tuple[int, int]], heard: Tensor, boxes: Tensor) -> Tensor:
    """What RTMDet's assigner makes of a student that says what it hears, and elsewhere a box of its level's size."""
    said = prior_boxes(alignment.plan.student, tuple(grids), heard.device).clone()
    said[heard > 0] = boxes[heard[heard > 0] - 1]
    return assigned_to(alignment.student.head, grids, boxes, said, torch.where(heard > 0, SURE, -SURE))


def _heard(alignment: Alignment, guide: list[LevelResponse], grids: list[tuple[int, int]], boxes: Tensor) -> Tensor:
    """(n,) 1 + index of the object that a student location hears of, 0 where it hears of none."""
    starts, start = [], 0
    for level, (height, width) in zip(alignment.plan.student, grids, strict=True):
        starts.append(start)
        start += height * width * max(len(level.anchors), 1)
    heard = torch.zeros(start, dtype=torch.long)
    for aligned in alignment.responses(guide, grids):
        response = aligned.response
        which = torch.cdist(response.boxes[0], boxes, p=float('inf')).argmin(dim=1) if len(boxes) else 0
        found = torch.where(response.logits[0, :, 0] > 0, which + 1, 0)
        heard[starts[aligned.student] : starts[aligned.student] + len(found)] = found
    return heard


def _counts(targets: Tensor, spoken: Tensor, heard: Tensor) -> Tensor:
    positive, told = targets > 0, heard > 0
    objects = set(targets[positive].tolist()) & set(spoken[spoken > 0].tolist())
    return torch.tensor(
        [
            positive.sum(),
            (positive & (heard == targets)).sum(),
            told.sum(),
            (told & (targets == 0)).sum(),
            len(objects),
            len(objects - set(heard[told].tolist())),
        ]
    )
