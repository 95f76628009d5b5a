"""How many positives each pyramid level has in training: counted, not guessed from sizes (ours).

A level without one is trained on background alone, so the guide's map there is noise. A rule by size was wrong: it left
out P5 on 320-pixel VOC, which holds 37 % of the positives.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..data.seeding import sample_rng
from ..heads.assign import assigned, level_grids
from .plan import Level

N_IMAGES = 300
"""Images that are counted; spread evenly over the training set."""


@dataclass(frozen=True)
class Annotated:
    """One training image after augmentation: (height, width), objects (g, 4), ignored objects (i, 4); LR pixels."""

    size: tuple[int, int]
    boxes: Tensor
    ignored: Tensor

    def scaled(self, ratio: float) -> Annotated:
        """The same image and boxes in pixels that are `ratio` times smaller."""
        height, width = (round(side * ratio) for side in self.size)
        return Annotated((height, width), self.boxes * ratio, self.ignored * ratio)


def annotated_images(dataset: Any, n_images: int = N_IMAGES) -> Iterator[Annotated]:
    """Training images through the data set's own pipeline, the same ones whenever and wherever it is called.

    Yields nothing for data without boxes.
    """
    total = len(dataset)
    for index in sorted({step * total // n_images for step in range(n_images)} if total > n_images else range(total)):
        with sample_rng(0, 0, index):
            sample = dataset[index]['data_samples']
        if 'gt_instances' not in sample or 'bboxes' not in sample.gt_instances:
            return
        ignored = sample.ignored_instances.bboxes if 'ignored_instances' in sample else torch.zeros(0, 4)
        yield Annotated(tuple(sample.img_shape[:2]), _tensor(sample.gt_instances.bboxes), _tensor(ignored))


def _tensor(boxes: Any) -> Tensor:
    """(g, 4) float; mmdet's pipelines carry boxes in classes of their own."""
    return getattr(boxes, 'tensor', boxes).float().reshape(-1, 4)


@torch.no_grad()
def count_positives(
    head: nn.Module | None, levels: Sequence[Level], images: Iterable[Annotated]
) -> tuple[int, ...] | None:
    """Positives of each level over the images, by the head's own assigner.

    Args:
        head: dense head, in whose pixels levels and images are.

    Returns:
        One count a level; None where they can't be counted: see `mmpd.heads.assign`, or data without boxes.
    """
    counts = torch.zeros(len(levels), dtype=torch.long)
    seen = False
    for image in images:
        grids = level_grids([level.stride for level in levels], image.size)
        found = assigned(head, grids, image.size, image.boxes, image.ignored)
        if found is None:
            return None
        seen = True
        cells = [h * w * max(len(level.anchors), 1) for (h, w), level in zip(grids, levels, strict=True)]
        counts += torch.stack([(part > 0).sum() for part in found.split(cells)])
    return tuple(counts.tolist()) if seen and counts.any() else None
