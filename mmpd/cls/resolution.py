"""Resolution-aware distillation of class logits (RKD); the other RKD terms are the core's."""

from __future__ import annotations

import torch
from mmdet.registry import MODELS
from torch import Tensor

from ..align.alignment import Alignment
from ..distill.step import Step
from ..losses.kd import kd_rows
from ..losses.resolution import class_divergence, resolution_weights
from .terms import KDTerm


@MODELS.register_module()
class ResolutionKDTerm(KDTerm):
    """`(1 - alpha)·CE + alpha·T²·mean(w·KL)`: `KDTerm` in which an image counts by what resolution costs the guide.

    w = KL of the guide's classes on the HR image from those on the LR image enlarged to HR size (at T = 1), over its
    mean in the batch, without gradient. It takes the place of `KDTerm`. The enlarged image costs one more forward of
    the guide a step. Ours, see docs/method.md.

    Args:
        aware: False: w = 1 everywhere, which is `KDTerm`, and no second forward.
    """

    def __init__(self, alignment: Alignment, aware: bool = True, **kwargs: float) -> None:
        super().__init__(alignment, **kwargs)
        self.aware = aware

    def forward(self, step: Step) -> dict[str, Tensor]:
        rows = kd_rows(step.student['head'], step.guide['head'], self.temperature)
        return {'loss_resolution': self.loss_weight * self.alpha * (self.resolution_weights(step) * rows).mean()}

    def resolution_weights(self, step: Step) -> Tensor:
        """w (B,), mean 1."""
        if not self.aware:
            return torch.ones(len(step.images_lr), device=step.images_lr.device)
        return resolution_weights(class_divergence(step.guide['head'], step.guide_on_lr['head']))
