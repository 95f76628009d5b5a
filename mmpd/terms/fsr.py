"""Feature Super-Resolution as a term: train-time only."""

from __future__ import annotations

import torch
from mmdet.registry import MODELS
from torch import Tensor, nn

from ..align.alignment import Alignment
from ..distill.step import Step
from ..errors import ConfigError
from ..losses.feature import FEATURE_LOSSES
from ..modules.fsr import FSRBlock
from .base import Term


@MODELS.register_module()
class FSRTerm(Term):
    """FSR(student feature) against the guide's HR feature of the same pyramid level (train-time only).

    Same pyramid level means equal strides in each network's own pixels, so the guide's grid is ratio times finer.

    Args:
        loss: 'pkd' or 'mse'.
    """

    def __init__(self, alignment: Alignment, loss: str = 'pkd', loss_weight: float = 1.0) -> None:
        super().__init__(alignment, loss_weight)
        if loss not in FEATURE_LOSSES:
            raise ConfigError(f'terms.fsr.loss = {loss!r} is unknown: use one of {sorted(FEATURE_LOSSES)}')
        self.loss = FEATURE_LOSSES[loss]
        strides_hr = [shape.stride for shape in alignment.guide_feats]
        self.pairs = [
            (index, strides_hr.index(shape.stride))
            for index, shape in enumerate(alignment.student_feats)
            if shape.stride in strides_hr
        ]
        if not self.pairs:
            raise ConfigError(
                f'terms.fsr: no student stride {[s.stride for s in alignment.student_feats]} is among the guide '
                f'strides {strides_hr}; remove terms.fsr or change the pyramid in overrides'
            )
        self.blocks = nn.ModuleList(
            FSRBlock(alignment.student_feats[s].channels, alignment.guide_feats[g].channels, str(alignment.ratio))
            for s, g in self.pairs
        )

    def forward(self, step: Step) -> dict[str, Tensor]:
        losses = []
        for (student, guide), block in zip(self.pairs, self.blocks, strict=True):
            target = step.feats_hr[guide]
            fine = block(step.feats_lr[student])[..., : target.shape[-2], : target.shape[-1]]
            stride = step.alignment.guide_feats[guide].stride / float(step.alignment.ratio)
            losses.append(self.loss(fine, target, step.mask(target.shape[-2:], stride)))
        return {'loss_fsr': self.loss_weight * torch.stack(losses).mean()}
