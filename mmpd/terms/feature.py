"""Imitation of the guide's feature maps."""

from __future__ import annotations

from typing import ClassVar

from mmdet.registry import MODELS
from torch import Tensor

from ..align.alignment import Alignment
from ..distill.step import Step
from ..errors import ConfigError
from ..losses.feature import FEATURE_LOSSES
from .matched import MatchedTerm


@MODELS.register_module()
class FeatureTerm(MatchedTerm):
    """Imitation of the guide's aligned feature maps.

    Levels without a positive in training are left out, and the mean is over what is left: the guide's maps there are
    noise. `Alignment.positives` has the counts; where they can't be taken, no level is left out.

    Args:
        loss: 'pkd' or 'mse'.
    """

    retired: ClassVar = dict(max_size=None)
    pools = False

    def __init__(self, alignment: Alignment, loss: str = 'pkd', loss_weight: float = 1.0) -> None:
        super().__init__(alignment, loss_weight)
        if loss not in FEATURE_LOSSES:
            raise ConfigError(f'terms.feature.loss = {loss!r} is unknown: use one of {sorted(FEATURE_LOSSES)}')
        self.loss = FEATURE_LOSSES[loss]

    def forward(self, step: Step) -> dict[str, Tensor]:
        losses, unused = [], []
        for aligned in step.aligned_features:
            if not step.alignment.trains(aligned.student):
                level = str(aligned.student)
                unused += list(self.adapters[level].parameters()) if level in self.adapters else []
                continue
            feature = self.adapted(aligned.student, step.feats_lr[aligned.student])
            stride = step.alignment.plan.student[aligned.student].stride
            losses.append(self.loss(feature, aligned.features, step.mask(feature.shape[-2:], stride)))
        if not losses:
            raise ConfigError(
                f'terms.feature: no student level that a guide level serves has a positive in training (positives by '
                f'level: {step.alignment.positives}), so the loss would be 0 without a word; change student_pyramid '
                'or align, or remove terms.feature (terms.feature = None)'
            )
        nothing = sum(parameter.sum() * 0 for parameter in unused)  # DDP stops on a parameter that no loss reaches
        return {'loss_feature': self.loss_weight * (sum(losses) / len(losses) + nothing)}  # type: ignore[dict-item]
