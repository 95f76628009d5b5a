"""What a term may look at in one training step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ..align.alignment import AlignedFeatures, AlignedResponse, Alignment
from ..heads.base import LevelResponse, responses
from .enlarge import enlarged
from .matched import MapPair, VectorPair, cell_vectors, pooled_maps
from .taps import Taps


@dataclass
class Step:
    """Everything that a term may look at in one training step.

    Attributes:
        images_hr: (B, 3, H, W) normalised, padded. images_lr: (B, 3, h, w).
        data_samples: LR samples (boxes in LR pixels).
        guide: features and head of the guide's forward (no gradient). student: taps of the student's own loss().
        alignment: the pair's alignment.
        run_guide: images (B, 3, H, W), normalised for the guide, to its taps, without gradient.
    """

    images_hr: Tensor
    images_lr: Tensor
    data_samples: list
    guide: Taps
    student: Taps
    alignment: Alignment
    run_guide: Callable[[Tensor], Taps] | None = None

    @cached_property
    def feats_lr(self) -> tuple[Tensor, ...]:
        """Student feature maps, finest first."""
        return self.alignment.student.feature_maps(self.student['features'])

    @cached_property
    def feats_hr(self) -> tuple[Tensor, ...]:
        """Guide feature maps, finest first."""
        return self.alignment.guide.feature_maps(self.guide['features'])

    @cached_property
    def grids(self) -> list[tuple[int, int]]:
        """(h, w) in cells of each student map."""
        return [(feat.shape[-2], feat.shape[-1]) for feat in self.feats_lr]

    @cached_property
    def aligned_features(self) -> list[AlignedFeatures]:
        """Guide maps (B, C, h, w) on the grids of the student levels that are served."""
        return self.alignment.features(self.feats_hr, self.grids)

    @cached_property
    def student_responses(self) -> list[LevelResponse]:
        """Class logits and boxes (LR pixels) at the student's locations, all levels; gradients flow."""
        return responses(self.alignment.student.head, self.student['head'])  # type: ignore[arg-type]

    @cached_property
    def aligned_responses(self) -> list[AlignedResponse]:
        """What the guide says at the student's locations, boxes in HR pixels; of the levels that are served."""
        guide = responses(self.alignment.guide.head, self.guide['head'])  # type: ignore[arg-type]
        return self.alignment.responses(guide, self.grids, self.guide.memo)

    @cached_property
    def guide_on_lr(self) -> Taps:
        """The guide on the LR images enlarged to HR size: what is left of its knowledge at low resolution.

        One more forward of the guide, made when a term first asks for it, and kept by the guide cache as any other.
        """
        size = (self.images_hr.shape[-2], self.images_hr.shape[-1])
        nets = self.alignment.student.net, self.alignment.guide.net
        images = enlarged(self.images_lr, size, self.valid(self.images_lr.shape[-2:]), *nets)
        run = self.run_guide or self.alignment.guide.run
        with torch.no_grad():
            return run(images)

    @cached_property
    def map_pairs(self) -> list[MapPair]:
        """Student and guide maps on one grid: every aligned level, no cell of one without a positive in training being
        valid; of classifiers the pooled last maps."""
        if self.alignment.student.pooled:
            return [pooled_maps(self.feats_lr, self.feats_hr)]
        pairs = []
        for aligned in self.aligned_features:
            valid = self.valid(self.grids[aligned.student], self.alignment.plan.student[aligned.student].stride)
            if not self.alignment.trains(aligned.student):
                valid = torch.zeros_like(valid)
            pairs.append(MapPair(aligned.student, self.feats_lr[aligned.student], aligned.features, valid))
        return pairs

    def vector_pairs(self, limit: int) -> list[VectorPair]:
        """Student and guide vectors of the same places, at most `limit` a level: the cells of each object, on the level
        that fits it; of classifiers one vector an image."""
        if self.alignment.student.pooled:
            return [pair.vectors(pair.valid, limit) for pair in self.map_pairs]
        return cell_vectors(self.map_pairs, self.alignment.plan.student, self.gt_boxes(), limit)

    def gt_boxes(self) -> list[Tensor]:
        """Ground-truth boxes per image, (g, 4), LR pixels."""
        return [sample.gt_instances.bboxes for sample in self.data_samples]

    def mask(self, grid: Sequence[int], stride: float | None = None) -> Tensor | None:
        """`valid`, or None where no image of the batch is padded, so that nobody multiplies by ones."""
        size = tuple(self.images_lr.shape[-2:])
        full = all(tuple(getattr(sample, 'img_shape', size)[:2]) == size for sample in self.data_samples)
        return None if full else self.valid(grid, stride)

    def valid(self, grid: Sequence[int], stride: float | None = None) -> Tensor:
        """(B, 1, h, w) bool: cells whose centre lies on the image and not on the batch's padding.

        Args:
            stride: LR pixels a cell. A pyramid halves with ceil, so its last cells may reach beyond the batch. None:
                the grid ends where the batch does.
        """
        height, width = self.images_lr.shape[-2:]
        masks = []
        for sample in self.data_samples:
            img_shape = getattr(sample, 'img_shape', (height, width))
            rows, cols = (
                _centres(n, side, stride or side / n, self.images_lr.device) < shown
                for n, side, shown in zip(grid, (height, width), img_shape, strict=False)
            )
            masks.append(rows[:, None] & cols[None])
        return torch.stack(masks)[:, None]


def _centres(n: int, side: int, stride: float, device: torch.device) -> Tensor:
    """(n,) centres of cells along a side of the batch, of the last one as far as it is inside."""
    starts = torch.arange(n, device=device) * stride
    return (starts + (starts + stride).clamp(max=side)) / 2
