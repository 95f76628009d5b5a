"""Whether two runs of one detector found the same (ours): what an exported file must pass."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

BOX_TOLERANCE = 1e-3  # pixels of the image file
SCORE_TOLERANCE = 1e-4
IOU_TOLERANCE = 1e-4  # for a tie only, see `Cuts`
MOST_TIES = 0.02


@dataclass(frozen=True)
class Found:
    """Detections of one image: boxes (n, 4) x1 y1 x2 y2, scores (n,), labels (n,)."""

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class Cuts:
    """Where detections end: a box on a cut may be on either side of it by rounding.

    Attributes:
        score: least score. iou: threshold of the NMS. count: most detections of an image.
    """

    score: float
    iou: float
    count: int


@dataclass
class Agreement:
    """Sum over images.

    Attributes:
        images, detections: compared. ties: detections of one side alone that stand on a cut.
        box, score: largest difference of a pair (pixels; 0..1). odd: detections of one side alone that no cut explains.
    """

    images: int = 0
    detections: int = 0
    ties: int = 0
    box: float = 0.0
    score: float = 0.0
    odd: int = 0

    @property
    def holds(self) -> bool:
        """Same boxes within `BOX_TOLERANCE`, same scores within `SCORE_TOLERANCE`, on at least one detection, and cuts
        explain no more than `MOST_TIES` of them."""
        few = self.ties <= max(2, MOST_TIES * self.detections)
        same = not self.odd and self.box <= BOX_TOLERANCE and self.score <= SCORE_TOLERANCE
        return self.detections > 0 and same and few

    def __str__(self) -> str:
        return (
            f'{self.detections} detections on {self.images} images: boxes within {self.box:.1e} px, scores within '
            f'{self.score:.1e}, {self.ties} on a cut, {self.odd} on one side alone'
        )


def compare(pairs: Iterable[tuple[Found, Found]], cuts: Cuts) -> Agreement:
    """Agreement of pairs of (reference, other), one pair per image."""
    total = Agreement()
    for reference, other in pairs:
        matched = _match(reference, other)
        total.images += 1
        total.detections += len(matched)
        for i, j in matched:
            total.box = max(total.box, float(np.abs(reference.boxes[i] - other.boxes[j]).max()))
            total.score = max(total.score, float(abs(reference.scores[i] - other.scores[j])))
        ties, odd = _single(reference, other, matched, cuts)
        total.ties += ties
        total.odd += odd
    return total


def _single(reference: Found, other: Found, matched: list[tuple[int, int]], cuts: Cuts) -> tuple[int, int]:
    """How many detections of one side alone a cut explains, and how many it does not; most confident first, since a
    box that only one side kept takes others with it."""
    sides = (reference, other)
    alone = [set(range(len(side.scores))) - {pair[k] for pair in matched} for k, side in enumerate(sides)]
    explained: list[list[int]] = [[], []]
    order = sorted((-float(sides[k].scores[i]), k, i) for k in (0, 1) for i in alone[k])
    for _, k, i in order:
        mine, theirs = sides[k], sides[1 - k]
        if _on_a_cut(mine, i, theirs, cuts) or _shadowed(mine, i, theirs, explained[1 - k], cuts):
            explained[k].append(i)
    ties = sum(map(len, explained))
    return ties, len(order) - ties


def _match(reference: Found, other: Found) -> list[tuple[int, int]]:
    """Each reference detection with the nearest box of its class whose score could be the same, most confident first.

    A pair may differ by 10 score tolerances and a pixel: it then counts as a pair that disagrees, not as two of which
    the other side has none.
    """
    pairs: list[tuple[int, int]] = []
    free = np.ones(len(other.scores), bool)
    for i in np.argsort(-reference.scores, kind='stable'):
        near = free & (other.labels == reference.labels[i])
        near &= np.abs(other.scores - reference.scores[i]) <= 10 * SCORE_TOLERANCE
        if not near.any():
            continue
        distance = np.where(near, np.abs(other.boxes - reference.boxes[i]).max(1), np.inf)
        j = int(distance.argmin())
        if distance[j] <= 1:
            free[j] = False
            pairs.append((int(i), j))
    return pairs


def _on_a_cut(mine: Found, index: int, theirs: Found, cuts: Cuts) -> bool:
    """Whether the least rounding could have dropped this detection on the other side: it is at the score threshold or
    at the end of a full list, overlaps a better one by just the NMS threshold, or another of equal score took it."""
    score = mine.scores[index]
    if score <= cuts.score + SCORE_TOLERANCE:
        return True
    if len(theirs.scores) >= cuts.count and score <= theirs.scores.min() + SCORE_TOLERANCE:
        return True
    better = (mine.scores >= score - SCORE_TOLERANCE) & (mine.labels == mine.labels[index])
    better[index] = False
    if (np.abs(iou_with(mine.boxes[index], mine.boxes[better]) - cuts.iou) <= IOU_TOLERANCE).any():
        return True
    equal = (np.abs(theirs.scores - score) <= SCORE_TOLERANCE) & (theirs.labels == mine.labels[index])
    return bool((iou_with(mine.boxes[index], theirs.boxes[equal]) >= cuts.iou - IOU_TOLERANCE).any())


def _shadowed(mine: Found, index: int, theirs: Found, explained: list[int], cuts: Cuts) -> bool:
    """Whether a better detection that only the other side kept, for a known reason, suppressed this one there."""
    same = [i for i in explained if theirs.labels[i] == mine.labels[index]]
    return bool((iou_with(mine.boxes[index], theirs.boxes[same]) >= cuts.iou - IOU_TOLERANCE).any())


def iou_with(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """IoU of one box (4,) with (n, 4) boxes."""
    corners = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    shared = corners.clip(0).prod(1)
    area = (box[2:] - box[:2]).prod() + (others[:, 2:] - others[:, :2]).prod(1)
    return shared / np.maximum(area - shared, 1e-9)
