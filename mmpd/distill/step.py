"""What a term may look at in one training step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from ..align.alignment import AlignedFeatures, AlignedResponse, Alignment
from ..heads.base import LevelResponse, responses
from .taps import Taps


@dataclass
class Step:
    """Everything that a term may look at in one training step.

    Attributes:
        images_hr: (B, 3, H, W) normalised, padded. images_lr: (B, 3, h, w).
        data_samples: LR samples (boxes in LR pixels).
        guide: taps of the guide's forward (no gradient). student: taps of the student's own loss().
        alignment: the pair's alignment.
    """

    images_hr: Tensor
    images_lr: Tensor
    data_samples: list
    guide: Taps
    student: Taps
    alignment: Alignment

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
        return [(feat.shape[-2], feat.shape[-1]) for feat in self.feats_lr]

    @cached_property
    def aligned_features(self) -> list[AlignedFeatures]:
        return self.alignment.features(self.feats_hr, self.grids)

    @cached_property
    def student_responses(self) -> list[LevelResponse]:
        return responses(self.alignment.student.head, self.student['head'])  # type: ignore[arg-type]

    @cached_property
    def aligned_responses(self) -> list[AlignedResponse]:
        guide = responses(self.alignment.guide.head, self.guide['head'])  # type: ignore[arg-type]
        return self.alignment.responses(guide, self.grids)

    def gt_boxes(self) -> list[Tensor]:
        """Ground-truth boxes per image, (g, 4), LR pixels."""
        return [sample.gt_instances.bboxes for sample in self.data_samples]

    def valid(self, grid: Sequence[int]) -> Tensor:
        """(B, 1, h, w) bool: cells whose centre lies on the image and not on the batch's padding."""
        height, width = self.images_lr.shape[-2:]
        masks = []
        for sample in self.data_samples:
            img_shape = getattr(sample, 'img_shape', (height, width))
            rows, cols = (
                (torch.arange(n, device=self.images_lr.device) + 0.5) * side / n < shown
                for n, side, shown in zip(grid, (height, width), img_shape, strict=False)
            )
            masks.append(rows[:, None] & cols[None])
        return torch.stack(masks)[:, None]
