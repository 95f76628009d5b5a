"""The guide's class scores and boxes at the student's locations."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmdet.registry import MODELS
from torch import Tensor

from ..align.alignment import Alignment
from ..distill.step import Step
from ..errors import ConfigError
from ..heads.base import LevelResponse
from ..losses import response as response_losses
from .base import Term


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
        ratio = float(step.alignment.ratio)
        gt_boxes = step.gt_boxes()
        pairs, weights = [], []
        for aligned, emphasis in zip(step.aligned_responses, self.emphasis(step), strict=True):
            guide, student = aligned.response, step.student_responses[aligned.student]
            boxes_lr = guide.boxes / ratio
            weight = response_losses.location_weights(
                guide.scores(), boxes_lr, gt_boxes, self.threshold, self.localisation
            )
            pairs.append((student, guide, boxes_lr, aligned.exact, emphasis))
            weights.append(weight)
        normaliser = torch.stack([weight.sum() for weight in weights]).sum().clamp(min=1.0)
        losses: dict[str, list[Tensor]] = {}
        for (student, guide, boxes_lr, exact, emphasis), weight in zip(pairs, weights, strict=True):
            for name, loss in self._level(student, guide, boxes_lr, exact, weight, normaliser, emphasis).items():
                losses.setdefault(f'{self.prefix}_{name}', []).append(loss)
        return {name: self.loss_weight * torch.stack(values).sum() for name, values in losses.items()}

    def emphasis(self, step: Step) -> Sequence[Tensor | None]:
        """Per aligned level (B, n): factors of every loss of a location; None: 1."""
        return [None] * len(step.aligned_responses)

    def _level(
        self,
        student: LevelResponse,
        guide: LevelResponse,
        boxes_lr: Tensor,
        exact: bool,
        weight: Tensor,
        normaliser: Tensor,
        emphasis: Tensor | None = None,
    ) -> dict[str, Tensor]:
        targets = guide.logits.float().sigmoid()
        heard = targets.amax(dim=2)
        if emphasis is not None:
            weight, heard = weight * emphasis, heard * emphasis
        losses = {
            'cls': response_losses.quality_focal_bce(student.logits, targets, normaliser, self.beta, emphasis),
        }
        if student.quality is not None and guide.quality is not None:
            losses['quality'] = response_losses.quality_focal_bce(
                student.quality[..., None],
                guide.quality.float().sigmoid()[..., None],
                normaliser,
                self.beta,
                weights=heard,
            )
        if not self.box_weight:
            return losses
        losses['bbox'] = self.box_weight * response_losses.weighted_giou(student.boxes, boxes_lr, weight, normaliser)
        if exact and student.distribution is not None and guide.distribution is not None:
            losses['dfl'] = self.box_weight * response_losses.distribution_kl(
                student.distribution, guide.distribution, weight, normaliser, self.temperature
            )
        return losses
