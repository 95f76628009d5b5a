"""The guide's class scores and boxes at the student's locations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from mmdet.registry import MODELS
from torch import Tensor

from ..align.alignment import Alignment
from ..distill.step import Step
from ..errors import ConfigError
from ..heads.response import LevelResponse, joined
from ..losses import response as response_losses
from .base import BoxTerm


@dataclass(frozen=True)
class Spots:
    """Locations of all levels, one after the other, whose boxes count: image (m,), location (m,), guide boxes (m, 4) in
    LR pixels, weight (m,) in (0, 1], see `spot_weights`."""

    image: Tensor
    location: Tensor
    boxes_lr: Tensor
    weight: Tensor


@MODELS.register_module()
class ResponseTerm(BoxTerm):
    """The guide's class scores and boxes at the student's locations (sigmoid dense heads).

    Classes: quality-focal BCE to the guide's scores. Boxes: GIoU to the guide's decoded boxes / ratio, weighted by
    `location_weights`; the normaliser of both is the sum of those weights over the batch (at least 1). Centerness:
    as classes, times the guide's class score: it is trained on objects alone and noise elsewhere. GFL distributions:
    KL where the strides agree.

    Args:
        options: see `BoxTerm`; the temperature is that of the distributions, as in LD.
    """

    needs_guide_head = True
    prefix = 'loss_response'
    default_temperature = 10.0
    retired: ClassVar = dict(beta=2.0, localisation=True)

    def __init__(self, alignment: Alignment, **options: float) -> None:
        super().__init__(alignment, **options)
        problem = alignment.response_problem()
        if problem:
            raise ConfigError(f'terms.response: {problem}; remove terms.response (terms.response = None) for this pair')
        problem = alignment.distribution_problem()
        if problem:
            raise ConfigError(f'terms.response: {problem}')

    def forward(self, step: Step) -> dict[str, Tensor]:
        levels = [(step.student_responses[a.student], a.response, a.exact) for a in step.aligned_responses]
        student, guide = joined([level[0] for level in levels]), joined([level[1] for level in levels])
        factors = [factor for factor in self.emphasis(step) if factor is not None]
        emphasis = torch.cat(factors, dim=1) if factors else None
        spots = self._spots(guide, step)
        normaliser = spots.weight.sum().clamp(min=1.0)
        losses = self._losses(student, guide, spots, normaliser, emphasis)
        distributions = self._distributions(levels, spots, emphasis)
        if self.box_weight and distributions:
            ours, theirs, weight = distributions
            losses['dfl'] = self.box_weight * response_losses.distribution_kl(
                ours, theirs, weight, normaliser, self.temperature
            )
        return {f'{self.prefix}_{name}': self.loss_weight * loss for name, loss in losses.items()}

    def _spots(self, guide: LevelResponse, step: Step) -> Spots:
        """Where the guide is confident, and what its boxes are worth there."""
        confidence = guide.confidence()
        image, location = (confidence >= self.threshold).nonzero(as_tuple=True)
        boxes_lr = guide.boxes_at(image, location) / float(step.alignment.ratio)
        weight = response_losses.spot_weights(confidence[image, location], image, boxes_lr, step.gt_boxes())
        kept = weight > 0
        return Spots(image[kept], location[kept], boxes_lr[kept], weight[kept].detach())

    def emphasis(self, step: Step) -> Sequence[Tensor | None]:
        """Per aligned level (B, n): factors of every loss of a location; None: 1, of all levels or of none."""
        return [None] * len(step.aligned_responses)

    def _losses(
        self,
        student: LevelResponse,
        guide: LevelResponse,
        spots: Spots,
        normaliser: Tensor,
        emphasis: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Of all levels as one; emphasis (B, n)."""
        losses = {
            'cls': response_losses.quality_focal_bce(
                student.logits, guide.logits, normaliser, emphasis, as_logits=True
            ),
        }
        if student.quality is not None and guide.quality is not None:
            heard = guide.best.float().sigmoid()
            losses['quality'] = response_losses.quality_focal_bce(
                student.quality[..., None],
                guide.quality.float().sigmoid()[..., None],
                normaliser,
                weights=heard if emphasis is None else heard * emphasis,
            )
        if self.box_weight:
            at = (spots.image, spots.location)
            weight = (spots.weight if emphasis is None else spots.weight * emphasis[at])[None]
            losses['bbox'] = self.box_weight * response_losses.weighted_giou(
                student.boxes_at(*at)[None], spots.boxes_lr[None], weight, normaliser
            )
        return losses

    def _distributions(
        self, levels: Sequence[tuple[LevelResponse, LevelResponse, bool]], spots: Spots, emphasis: Tensor | None
    ) -> list[Tensor]:
        """Distributions (1, m, 4, R) of student and guide, and weights (1, m), at the spots of the levels that compare
        them; [] where none does."""
        found, start = [], 0
        for student, guide, exact in levels:
            count = student.count
            if exact and student.distribution is not None and guide.distribution is not None:
                own = (spots.location >= start) & (spots.location < start + count)
                at = (spots.image[own], spots.location[own] - start)
                weight = spots.weight[own] if emphasis is None else spots.weight[own] * emphasis[at[0], at[1] + start]
                found.append((student.distribution[at], guide.distribution[at], weight))
            start += count
        return [torch.cat(parts)[None] for parts in zip(*found, strict=True)]
