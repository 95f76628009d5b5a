"""Distillation terms of super-resolution. Each may stand alone, or beside any of the others, in any sr chain.

L = L_rec + λ_kd·L_kd + λ_dukd·L_dukd (DUKD, Zhang et al., arXiv 2309.14162, eq. 7): the sum is one loss, with one
backward pass and one optimiser step; `loss_weight` is a term's λ.
"""

from __future__ import annotations

import torch
from mmdet.registry import MODELS
from torch import Tensor

from ..align.alignment import Alignment
from ..distill.step import Step
from ..errors import ConfigError
from ..losses.super_resolution import feature_affinity_loss, logits_l1
from ..terms.base import Term
from .model import hr_targets
from .upcycling import augment, draw_augmentations, random_tiles, undo, zoom_out


@MODELS.register_module()
class LogitsTerm(Term):
    """L_kd = ‖S(x) − T(x)‖₁ on the training patch. Cost: the guide's forward."""

    needs_guide_head = True

    def forward(self, step: Step) -> dict[str, Tensor]:
        return {'loss_logits': self.loss_weight * logits_l1(step.student['head'], step.guide['head'])}


class UpcyclingTerm(Term):
    """Base of the terms that make new inputs.

    Args:
        loss_weight: λ_dukd.
        consistency: probability of each invertible augmentation f (colour inversion, flips, transpose) of the
            student's input, undone on its output: S'(x) = f⁻¹(S(f(x))). The guide sees the clean x. 0: S' = S.
            One f is drawn for the batch of a step.

    Raises:
        ConfigError: consistency is no probability.
    """

    def __init__(self, alignment: Alignment, loss_weight: float = 1.0, consistency: float = 0.3) -> None:
        super().__init__(alignment, loss_weight)
        if not 0 <= consistency <= 1:
            raise ConfigError(f'{type(self).__name__}.consistency = {consistency!r}: give a probability, 0..1')
        self.consistency = consistency

    def student(self, step: Step, images: Tensor) -> Tensor:
        """S'(x); images (B, 3, h, w) RGB 0..1, the result (B, 3, s·h, s·w)."""
        names = draw_augmentations(self.consistency)
        return undo(step.alignment.student.net(augment(images, names), mode='tensor'), names)

    def guide(self, step: Step, images: Tensor) -> Tensor:
        """T(x), no gradient."""
        with torch.no_grad():
            return step.alignment.guide.net(images, mode='tensor')


@MODELS.register_module()
class ZoomInTerm(UpcyclingTerm):
    """‖S'(x) − T(x)‖₁ on tiles x of the HR patch, of the LR patch's size: sharper than any LR image, as a user's are.

    Cost: `tiles` forwards of the guide, and as many forwards and backwards of the student, at the patch's size.

    Args:
        tiles: n of the s² tiles of each patch, at random.
    """

    def __init__(
        self, alignment: Alignment, loss_weight: float = 1.0, consistency: float = 0.3, tiles: int = 1
    ) -> None:
        super().__init__(alignment, loss_weight, consistency)
        scale = alignment.student.net.scale
        if not isinstance(tiles, int) or not 1 <= tiles <= scale**2:
            raise ConfigError(f'ZoomInTerm.tiles = {tiles!r}: an HR patch at ratio {scale} has 1 to {scale**2} tiles')
        self.tiles = tiles

    def forward(self, step: Step) -> dict[str, Tensor]:
        images = random_tiles(hr_targets(step.data_samples), step.alignment.student.net.scale, self.tiles)
        loss = logits_l1(self.student(step, images), self.guide(step, images))
        return {'loss_zoom_in': self.loss_weight * loss}


@MODELS.register_module()
class ZoomOutTerm(UpcyclingTerm):
    """‖S'(x) − x_LR‖₁ + ‖S'(x) − T(x)‖₁ on the LR patch reduced once more by s, for which x_LR is the ground truth.

    Cost: 1/s² of a forward of the guide, and of a forward and backward of the student.
    """

    def forward(self, step: Step) -> dict[str, Tensor]:
        images = zoom_out(step.images_lr, step.alignment.student.net.scale)
        output = self.student(step, images)
        loss = logits_l1(output, step.images_lr) + logits_l1(output, self.guide(step, images))
        return {'loss_zoom_out': self.loss_weight * loss}


@MODELS.register_module()
class ConsistencyTerm(UpcyclingTerm):
    """‖f⁻¹(S(f(x))) − T(x)‖₁ on the training patch itself: label consistency without upcycled data.

    Cost: a forward and a backward of the student; T(x) is there already.

    Raises:
        ConfigError: consistency is 0, which would be `LogitsTerm`.
    """

    needs_guide_head = True

    def __init__(self, alignment: Alignment, loss_weight: float = 1.0, consistency: float = 0.3) -> None:
        super().__init__(alignment, loss_weight, consistency)
        if consistency == 0:
            raise ConfigError('ConsistencyTerm.consistency = 0 leaves no augmentation: use LogitsTerm, or raise it')

    def forward(self, step: Step) -> dict[str, Tensor]:
        loss = logits_l1(self.student(step, step.images_lr), step.guide['head'])
        return {'loss_consistency': self.loss_weight * loss}


@MODELS.register_module()
class AffinityTerm(Term):
    """FAKD: the spatial affinities of three feature maps of each network, a third of the body apart (the rival).

    Cost: the guide's forward, and two products of n × n positions per map, n = min(side, `max_side`)².

    Args:
        max_side: maps are averaged down to this side first.
    """

    def __init__(self, alignment: Alignment, loss_weight: float = 1.0, max_side: int = 24) -> None:
        super().__init__(alignment, loss_weight)
        self.max_side = max_side

    def forward(self, step: Step) -> dict[str, Tensor]:
        loss = feature_affinity_loss(step.feats_lr, step.feats_hr, self.max_side)
        return {'loss_affinity': self.loss_weight * loss}
