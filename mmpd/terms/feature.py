"""Imitation of the guide's feature maps."""

from __future__ import annotations

from mmdet.registry import MODELS
from torch import Tensor, nn

from ..align.alignment import Alignment
from ..distill.step import Step
from ..errors import ConfigError
from ..losses.feature import FEATURE_LOSSES
from .base import Term


@MODELS.register_module()
class FeatureTerm(Term):
    """Imitation of the guide's aligned feature maps.

    Where the channel widths differ, a learned 1×1 convolution brings the student's map to the guide's width; it is
    part of the term, so it leaves no key in the student.

    Args:
        loss: 'pkd', 'mse' or 'cwd'.
        max_size: levels whose typical object is larger than this (HR pixels) are left out: they have no positive in
            training, so the guide's maps there are noise. None: half of the HR image's longer side.
    """

    def __init__(
        self, alignment: Alignment, loss: str = 'pkd', loss_weight: float = 1.0, max_size: float | None = None
    ) -> None:
        super().__init__(alignment, loss_weight)
        if loss not in FEATURE_LOSSES:
            raise ConfigError(f'terms.feature.loss = {loss!r} is unknown: use one of {sorted(FEATURE_LOSSES)}')
        self.loss = FEATURE_LOSSES[loss]
        self.max_size = max_size
        self.adapters = nn.ModuleDict()
        for match in alignment.plan.served():
            have = alignment.student_feats[match.student].channels
            want = alignment.guide_feats[alignment.main_guide(match)].channels
            if have != want:
                self.adapters[str(match.student)] = nn.Conv2d(have, want, 1)

    def forward(self, step: Step) -> dict[str, Tensor]:
        max_size = self.max_size or max(step.images_hr.shape[-2:]) / 2
        losses = []
        sizes = [step.alignment.plan.guide[aligned.guide].size for aligned in step.aligned_features]
        if len(sizes) > 1 and min(sizes) > max_size:
            raise ConfigError(
                f'terms.feature.max_size = {max_size:g} masks every level (typical objects: '
                f'{[round(size) for size in sizes]} HR pixels), the loss would be 0 without a word: raise max_size'
            )
        for aligned, size in zip(step.aligned_features, sizes, strict=True):
            feature = step.feats_lr[aligned.student]
            adapter = str(aligned.student)
            if adapter in self.adapters:
                feature = self.adapters[adapter](feature)
            loss = self.loss(feature, aligned.features, step.valid(feature.shape[-2:]))
            masked = size > max_size and len(sizes) > 1
            losses.append(loss * 0 if masked else loss)
        return {'loss_feature': self.loss_weight * sum(losses) / len(losses)}  # type: ignore[dict-item]
