"""Distillation terms: thin registered modules that hold weights, and call one pure loss each.

A term is built with the pair's `Alignment` and called with a `Step`; it returns named losses. Register your own in
mmdet's MODELS with the same two signatures, see docs/extending.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from mmdet.registry import MODELS
from torch import Tensor, nn

from ..align.alignment import AlignedFeatures, AlignedResponse, Alignment
from ..distill.taps import Taps
from ..errors import ConfigError
from ..heads.base import LevelResponse, responses
from ..losses import response as response_losses
from ..losses.feature import FEATURE_LOSSES
from ..losses.isrd import ISRDDecoder, isrd_loss, isrd_scale
from ..modules.fsr import FSRBlock


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


class Term(nn.Module):
    """Base of all terms.

    Args:
        alignment: the pair's alignment (shapes and plan), given by the Distiller.
        loss_weight: factor of every loss of the term, ≥ 0.

    Attributes:
        needs_guide_head: the term reads the guide's head outputs.
        own_loss_weight: factor of the student's own losses while the term is on. A term that takes their place in part
            (KD: 1 - alpha) says so here and not in the student's config, which the plain controls share.
    """

    needs_guide_head = False
    own_loss_weight = 1.0

    def __init__(self, alignment: Alignment, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, step: Step) -> dict[str, Tensor]:
        raise NotImplementedError(f'{type(self).__name__} must return its named losses')


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
        box_weight: factor of the box losses relative to the class loss.
        localisation: weigh by the guide box's IoU with the ground truth as well.
        temperature: of the distributions.
    """

    needs_guide_head = True

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
        self.box_weight = box_weight
        self.threshold = threshold
        self.beta = beta
        self.localisation = localisation
        self.temperature = temperature

    def forward(self, step: Step) -> dict[str, Tensor]:
        ratio = float(step.alignment.ratio)
        gt_boxes = step.gt_boxes()
        pairs, weights = [], []
        for aligned in step.aligned_responses:
            guide, student = aligned.response, step.student_responses[aligned.student]
            boxes_lr = guide.boxes / ratio
            weight = response_losses.location_weights(
                guide.scores(), boxes_lr, gt_boxes, self.threshold, self.localisation
            )
            pairs.append((student, guide, boxes_lr, aligned.exact))
            weights.append(weight)
        normaliser = torch.stack([weight.sum() for weight in weights]).sum().clamp(min=1.0)
        losses: dict[str, list[Tensor]] = {}
        for (student, guide, boxes_lr, exact), weight in zip(pairs, weights, strict=True):
            for name, loss in self._level(student, guide, boxes_lr, exact, weight, normaliser).items():
                losses.setdefault(name, []).append(loss)
        return {name: self.loss_weight * torch.stack(values).sum() for name, values in losses.items()}

    def _level(
        self,
        student: LevelResponse,
        guide: LevelResponse,
        boxes_lr: Tensor,
        exact: bool,
        weight: Tensor,
        normaliser: Tensor,
    ) -> dict[str, Tensor]:
        targets = guide.logits.float().sigmoid()
        losses = {
            'loss_response_cls': response_losses.quality_focal_bce(student.logits, targets, normaliser, self.beta),
            'loss_response_bbox': self.box_weight
            * response_losses.weighted_giou(student.boxes, boxes_lr, weight, normaliser),
        }
        if student.quality is not None and guide.quality is not None:
            losses['loss_response_quality'] = response_losses.quality_focal_bce(
                student.quality[..., None],
                guide.quality.float().sigmoid()[..., None],
                normaliser,
                self.beta,
                weights=targets.amax(dim=2),
            )
        if exact and student.distribution is not None and guide.distribution is not None:
            losses['loss_response_dfl'] = self.box_weight * response_losses.distribution_kl(
                student.distribution, guide.distribution, weight, normaliser, self.temperature
            )
        return losses


@MODELS.register_module()
class ISRDTerm(Term):
    """Rebuild the normalised HR image from the student's stem (train-time only)."""

    def __init__(self, alignment: Alignment, loss_weight: float = 1.0) -> None:
        super().__init__(alignment, loss_weight)
        hr_stride = alignment.stem.stride * float(alignment.ratio)
        self.decoder = ISRDDecoder(alignment.stem.channels, isrd_scale(round(hr_stride * 1000), 1000))

    def forward(self, step: Step) -> dict[str, Tensor]:
        stem = step.student['stem']
        height, width = step.images_hr.shape[-2:]
        rebuilt = self.decoder(stem, (height, width))
        return {'loss_isrd': self.loss_weight * isrd_loss(rebuilt, step.images_hr, step.valid((height, width)))}


@MODELS.register_module()
class FSRTerm(Term):
    """FSR(student feature) against the guide's HR feature of the same pyramid level (train-time only).

    Same pyramid level means equal strides in each network's own pixels, so the guide's grid is ratio times finer.

    Args:
        loss: 'pkd' or 'mse'.
    """

    def __init__(self, alignment: Alignment, loss: str = 'pkd', loss_weight: float = 1.0) -> None:
        super().__init__(alignment, loss_weight)
        if loss not in ('pkd', 'mse'):
            raise ConfigError(f"terms.fsr.loss = {loss!r} is unknown: use 'pkd' or 'mse'")
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
            losses.append(self.loss(fine, target, step.valid(target.shape[-2:])))
        return {'loss_fsr': self.loss_weight * torch.stack(losses).mean()}
