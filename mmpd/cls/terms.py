"""Distillation terms of the classification set: each holds weights and calls one pure loss.

ISRD and FSR are the core's (`ISRDTerm`, `FSRTerm`). In configs: `type='mmdet.KDTerm'`, since the scope is mmpretrain's.
"""

from __future__ import annotations

import torch
from mmdet.registry import MODELS
from torch import Tensor, nn

from ..align.alignment import Alignment
from ..distill.step import Step
from ..distill.view import Shape
from ..errors import ConfigError
from ..losses.classification import (
    attention_transfer_loss,
    feature_imitation_loss,
    icc_loss,
    similarity_preserving_loss,
)
from ..losses.kd import dkd_loss, kd_loss
from ..terms.base import Term


@MODELS.register_module()
class KDTerm(Term):
    """`(1 - alpha)·CE + alpha·T²·KL`, see `kd_loss`; the CE is the student's own loss, whatever its head computes.

    Defaults: the Pixel Distillation classification code.

    Args:
        alpha: 0..1.
        temperature: T > 0.
        loss_weight: of the KL part alone.

    Raises:
        ConfigError: alpha is out of its range.
    """

    needs_guide_head = True

    def __init__(
        self, alignment: Alignment, alpha: float = 0.9, temperature: float = 4.0, loss_weight: float = 1.0
    ) -> None:
        super().__init__(alignment, loss_weight)
        if not 0 <= alpha <= 1:
            raise ConfigError(f'terms.kd.alpha = {alpha!r} must lie in 0..1: the loss is (1 - alpha)·CE + alpha·T²·KL')
        self.alpha = alpha
        self.own_loss_weight = 1.0 - alpha
        self.temperature = self.number('temperature', temperature, positive=True)

    def forward(self, step: Step) -> dict[str, Tensor]:
        loss = kd_loss(step.student['head'], step.guide['head'], self.temperature)
        return {'loss_kd': self.loss_weight * self.alpha * loss}


@MODELS.register_module()
class DKDTerm(Term):
    """Decoupled KD beside the whole CE, see `dkd_loss`; alpha and beta weigh its two halves."""

    needs_guide_head = True

    def __init__(
        self,
        alignment: Alignment,
        alpha: float = 1.0,
        beta: float = 8.0,
        temperature: float = 4.0,
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(alignment, loss_weight)
        self.alpha, self.beta = self.number('alpha', alpha), self.number('beta', beta)
        self.temperature = self.number('temperature', temperature, positive=True)

    def forward(self, step: Step) -> dict[str, Tensor]:
        labels = torch.cat([sample.gt_label for sample in step.data_samples])
        logits = step.student['head'], step.guide['head']
        return {'loss_dkd': self.loss_weight * dkd_loss(*logits, labels, self.alpha, self.beta, self.temperature)}


class MapTerm(Term):
    """Base of the terms that compare one map of each network: by stage, as the method does in classification, and not
    by stride, as AFP does for pyramids.

    Args:
        student_stage: which map of the student, an index into the backbone's `out_indices`; -1 is the last.
        guide_stage: which map of the guide; None: the same index as the student's.
    """

    def __init__(
        self, alignment: Alignment, loss_weight: float = 1.0, student_stage: int = -1, guide_stage: int | None = None
    ) -> None:
        super().__init__(alignment, loss_weight)
        self.student_stage = student_stage
        self.guide_stage = student_stage if guide_stage is None else guide_stage
        self.student_shape = self._shape('student', alignment.student_feats, self.student_stage)
        self.guide_shape = self._shape('guide', alignment.guide_feats, self.guide_stage)

    def _shape(self, owner: str, shapes: list[Shape], stage: int) -> Shape:
        if not -len(shapes) <= stage < len(shapes):
            raise ConfigError(
                f'{type(self).__name__}: {owner}_stage = {stage}, but the {owner} gives {len(shapes)} maps; change it, '
                'or out_indices of its backbone in overrides'
            )
        return shapes[stage]

    def maps(self, step: Step) -> tuple[Tensor, Tensor]:
        """Student map (B, c, h, w), guide map (B, C, H, W)."""
        return step.feats_lr[self.student_stage], step.feats_hr[self.guide_stage]


@MODELS.register_module()
class AttentionTerm(MapTerm):
    """Attention transfer (AT), see `attention_transfer_loss`; the default weight is that of its authors' code."""

    def __init__(self, alignment: Alignment, loss_weight: float = 1000.0, **stages: int | None) -> None:
        super().__init__(alignment, loss_weight, **stages)  # type: ignore[arg-type]

    def forward(self, step: Step) -> dict[str, Tensor]:
        student, guide = self.maps(step)
        if student.shape[-2:] == (1, 1) or guide.shape[-2:] == (1, 1):
            raise ConfigError(
                f'AttentionTerm: student map {tuple(student.shape[-2:])}, guide map {tuple(guide.shape[-2:])}: the '
                'normalised attention of one cell is constant and teaches nothing; set student_stage to an earlier map'
            )
        return {'loss_at': self.loss_weight * attention_transfer_loss(student, guide)}


@MODELS.register_module()
class SimilarityTerm(MapTerm):
    """Similarity-preserving distillation (SP), see `similarity_preserving_loss`; the default weight is its paper's."""

    def __init__(self, alignment: Alignment, loss_weight: float = 3000.0, **stages: int | None) -> None:
        super().__init__(alignment, loss_weight, **stages)  # type: ignore[arg-type]

    def forward(self, step: Step) -> dict[str, Tensor]:
        return {'loss_sp': self.loss_weight * similarity_preserving_loss(*self.maps(step))}


class AdaptedMapTerm(MapTerm):
    """A map term that compares channel by channel: where the widths differ, a learned 1×1 convolution brings the
    student's map to the guide's channels. It is part of the term, so it leaves no key in the student."""

    def __init__(
        self, alignment: Alignment, loss_weight: float = 1.0, student_stage: int = -1, guide_stage: int | None = None
    ) -> None:
        super().__init__(alignment, loss_weight, student_stage, guide_stage)
        have, want = self.student_shape.channels, self.guide_shape.channels
        self.adapter = nn.Identity() if have == want else nn.Conv2d(have, want, 1)

    def maps(self, step: Step) -> tuple[Tensor, Tensor]:
        student, guide = super().maps(step)
        return self.adapter(student), guide


@MODELS.register_module()
class ICKDTerm(AdaptedMapTerm):
    """Inter-channel correlation (ICKD-C), see `icc_loss`."""

    def forward(self, step: Step) -> dict[str, Tensor]:
        return {'loss_ickd': self.loss_weight * icc_loss(*self.maps(step))}


@MODELS.register_module()
class ImitationTerm(AdaptedMapTerm):
    """Feature imitation with the student's map upsampled to the guide's grid, see `feature_imitation_loss`."""

    def forward(self, step: Step) -> dict[str, Tensor]:
        return {'loss_imitation': self.loss_weight * feature_imitation_loss(*self.maps(step))}
