"""The guide's class scores and boxes at the student's locations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from mmdet.registry import MODELS
from torch import Tensor

from ..align.alignment import Alignment
from ..distill.step import Step
from ..errors import ConfigError
from ..heads.base import LevelResponse
from ..losses import response as response_losses
from .base import Term


@dataclass(frozen=True)
class Spots:
    """Locations of one level whose boxes count: image (m,), location (m,), guide boxes (m, 4) in LR pixels, weight (m,)
    in (0, 1], see `spot_weights`."""

    image: Tensor
    location: Tensor
    boxes_lr: Tensor
    weight: Tensor


@MODELS.register_module()
class ResponseTerm(Term):
    """The guide's class scores and boxes at the student's locations (sigmoid dense heads).

    Classes: quality-focal BCE to the guide's scores. Boxes: GIoU to the guide's decoded boxes / ratio, weighted by
    `location_weights`; the normaliser of both is the sum of those weights over the batch (at least 1). Centerness:
    as classes, times the guide's class score: it is trained on objects alone and noise elsewhere. GFL distributions:
    KL where the strides agree.

    Args:
        threshold: guide confidence below which a location's box weighs zero.
        beta: focal power of the class loss.
        box_weight: factor of the box losses relative to the class loss; 0: classes (and quality) alone.
        localisation: weigh by the guide box's IoU with the ground truth as well.
        temperature: of the distributions.
    """

    needs_guide_head = True
    prefix = 'loss_response'

    def __init__(
        self,
        alignment: Alignment,
        loss_weight: float = 1.0,
        box_weight: float = 1.0,
        threshold: float = 0.1,
        beta: float = 2.0,
        localisation: bool = True,
        temperature: float = 10.0,
    ) -> None:
        super().__init__(alignment, loss_weight)
        problem = alignment.response_problem()
        if problem:
            raise ConfigError(f'terms.response: {problem}; remove terms.response (terms.response = None) for this pair')
        problem = alignment.distribution_problem()
        if problem:
            raise ConfigError(f'terms.response: {problem}')
        self.box_weight = box_weight
        self.threshold = threshold
        self.beta = beta
        self.localisation = localisation
        self.temperature = temperature

    def forward(self, step: Step) -> dict[str, Tensor]:
        pairs = []
        for aligned, emphasis in zip(step.aligned_responses, self.emphasis(step), strict=True):
            spots = self._spots(aligned.response, step)
            pairs.append((step.student_responses[aligned.student], aligned, spots, emphasis))
        normaliser = torch.stack([spots.weight.sum() for _, _, spots, _ in pairs]).sum().clamp(min=1.0)
        losses: dict[str, list[Tensor]] = {}
        for student, aligned, spots, emphasis in pairs:
            level = self._level(student, aligned.response, spots, aligned.exact, normaliser, emphasis)
            for name, loss in level.items():
                losses.setdefault(f'{self.prefix}_{name}', []).append(loss)
        return {name: self.loss_weight * torch.stack(values).sum() for name, values in losses.items()}

    def _spots(self, guide: LevelResponse, step: Step) -> Spots:
        """Where the guide is confident, and what its boxes are worth there."""
        confidence = guide.confidence()
        image, location = (confidence >= self.threshold).nonzero(as_tuple=True)
        boxes_lr = guide.boxes_at(image, location) / float(step.alignment.ratio)
        weight = response_losses.spot_weights(
            confidence[image, location], image, boxes_lr, step.gt_boxes(), self.localisation
        )
        kept = weight > 0
        return Spots(image[kept], location[kept], boxes_lr[kept], weight[kept].detach())

    def emphasis(self, step: Step) -> Sequence[Tensor | None]:
        """Per aligned level (B, n): factors of every loss of a location; None: 1."""
        return [None] * len(step.aligned_responses)

    def _level(
        self,
        student: LevelResponse,
        guide: LevelResponse,
        spots: Spots,
        exact: bool,
        normaliser: Tensor,
        emphasis: Tensor | None = None,
    ) -> dict[str, Tensor]:
        targets = guide.logits.float().sigmoid()
        at = (spots.image, spots.location)
        weight = (spots.weight if emphasis is None else spots.weight * emphasis[at])[None]
        losses = {
            'cls': response_losses.quality_focal_bce(student.logits, targets, normaliser, self.beta, emphasis),
        }
        if student.quality is not None and guide.quality is not None:
            heard = targets.amax(dim=2)
            losses['quality'] = response_losses.quality_focal_bce(
                student.quality[..., None],
                guide.quality.float().sigmoid()[..., None],
                normaliser,
                self.beta,
                weights=heard if emphasis is None else heard * emphasis,
            )
        if not self.box_weight:
            return losses
        losses['bbox'] = self.box_weight * response_losses.weighted_giou(
            student.boxes_at(*at)[None], spots.boxes_lr[None], weight, normaliser
        )
        if exact and student.distribution is not None and guide.distribution is not None:
            distributions = (student.distribution[at][None], guide.distribution[at][None])
            losses['dfl'] = self.box_weight * response_losses.distribution_kl(
                *distributions, weight, normaliser, self.temperature
            )
        return losses
