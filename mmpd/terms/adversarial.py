"""The adversarial term of resolution-aware distillation: features that do not tell their resolution."""

from __future__ import annotations

import logging

import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from mmengine.logging import print_log
from torch import Tensor
from torch.nn.utils import parametrize

from ..align.alignment import Alignment
from ..distill.step import Step
from ..errors import ConfigError
from ..losses.adversarial import discriminator_accuracy, discriminator_loss, ramp, reverse_gradient
from ..modules.discriminator import Discriminator
from .matched import MatchedTerm

SURE = 0.95
"""Running accuracy above which D has won: what it says to the student is no longer about resolution."""
VANISHED = 1e-3
"""Running gradient below which D says nothing: by how many nats a feature changes its loss by moving its own length."""
MEMORY = 0.98
PATIENCE = 200


@MODELS.register_module()
class AdversarialTerm(MatchedTerm):
    """A discriminator D tells the guide's HR features from the student's LR features, the student learns to fool it.

    `loss_adversarial` is D's own cross-entropy (log 2 where it can't tell) and is not weighed: D learns at full pace.
    The gradient that goes on to the student is reversed and times `loss_weight` · ramp: one optimiser and one pass, so
    AMP, accumulation, DDP and resuming are those of any other term. D is a part of the term and no key of the student.
    Detectors: a convolutional D, one for all aligned levels, every cell that is not padding a sample. Classifiers: an
    MLP on pooled vectors. Everything in float32, also under AMP: D's gradient is a mean over thousands of cells.

    Logged beside the loss, and not summed: `adversarial_accuracy` (0.5: LR looks like HR), `adversarial_gradient` (mean
    over cells of ‖∂/∂f‖ · ‖f‖ of the student's loss, before weight and ramp) and `adversarial_ramp`.

    Source: RKD (Feng et al. 2021) names such a discriminator; this form is ours, see docs/method.md.

    Args:
        loss_weight: factor of the reversed gradient.
        ramp_iters: iterations until its full weight, along Ganin's curve; 0: from the first.
        width: channels of D. spectral: spectral norm in D.

    Raises:
        ConfigError: ramp_iters is negative; maps of several widths, which one D cannot read.
    """

    steps: Tensor
    accuracy: Tensor
    gradient: Tensor

    def __init__(
        self,
        alignment: Alignment,
        loss_weight: float = 1.0,
        ramp_iters: int = 1000,
        width: int = 64,
        spectral: bool = True,
    ) -> None:
        super().__init__(alignment, loss_weight)
        if ramp_iters < 0:
            raise ConfigError(
                f'terms.adversarial.ramp_iters = {ramp_iters}: give the iterations until full weight, ≥ 0'
            )
        channels = {want for _, want in self.widths.values()}
        if len(channels) > 1:
            raise ConfigError(
                f'terms.adversarial: the guide maps have {sorted(channels)} channels and one discriminator reads them '
                'all; give the guide a neck, or remove the term (terms.adversarial = None)'
            )
        self.ramp_iters = ramp_iters
        self.discriminator = Discriminator(channels.pop(), width, 1 if alignment.student.pooled else 3, spectral)
        # In the checkpoint, so that ramp and warnings of a resumed run go on as they would have.
        self.register_buffer('steps', torch.zeros((), dtype=torch.long))
        self.register_buffer('accuracy', torch.tensor(0.5))
        self.register_buffer('gradient', torch.tensor(1.0))
        self._warned: set[str] = set()

    def forward(self, step: Step) -> dict[str, Tensor]:
        if self.training:
            self.steps += 1
        factor = ramp(self.steps, self.ramp_iters) if self.ramp_iters else torch.ones_like(self.accuracy)
        with torch.autocast(step.images_lr.device.type, enabled=False), parametrize.cached():
            logits_hr, logits_lr, lengths = self._judge(step, self.loss_weight * factor)
        if not len(logits_hr):  # nothing but padding
            return {'loss_adversarial': sum(p.sum() for p in self.parameters()) * 0}  # type: ignore[dict-item]
        seen = dict(
            accuracy=discriminator_accuracy(logits_hr, logits_lr),
            gradient=lengths.detach(),
        )
        self._watch(seen)
        return {
            'loss_adversarial': discriminator_loss(logits_hr, logits_lr),
            **{f'adversarial_{name}': value for name, value in seen.items()},
            'adversarial_ramp': factor,
        }

    def _judge(self, step: Step, factor: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """D's logits of all valid cells, HR (n,) and LR (n,), and the mean length of the student's gradient."""
        sides: list[tuple[Tensor, Tensor]] = []
        lengths = []
        for pair in step.map_pairs:
            student = reverse_gradient(self.adapted(pair.level, pair.student.float()), factor)
            logits = self.discriminator(torch.cat([pair.guide.float().detach(), student]))
            hr, lr = logits.chunk(2)
            sides.append((hr[pair.valid], lr[pair.valid]))
            lengths.append(_gradient_lengths(student, lr, pair.valid))
        logits_hr, logits_lr = (torch.cat(side) for side in zip(*sides, strict=True))
        return logits_hr, logits_lr, torch.cat(lengths).mean()

    @torch.no_grad()
    def _watch(self, seen: dict[str, Tensor]) -> None:
        """Running means, and a warning, once of each kind, when D has won or has nothing to say."""
        if not self.training:
            return
        for name, value in seen.items():
            getattr(self, name).lerp_(value.float(), 1 - MEMORY)
        if int(self.steps) % PATIENCE:
            return
        accuracy, gradient = float(self.accuracy), float(self.gradient)
        if accuracy > SURE:
            self._warn(
                'accuracy',
                f'the discriminator is right in {accuracy:.1%} of the cases: LR features never look like HR ones, so '
                'fooling it is no longer about resolution; raise loss_weight, lower width, or leave the term out',
            )
        if gradient < VANISHED:
            self._warn(
                'gradient', f'its gradient at the student has vanished ({gradient:.1g}); spectral=True bounds it'
            )

    def _warn(self, kind: str, text: str) -> None:
        if kind not in self._warned:
            self._warned.add(kind)
            print_log(f'AdversarialTerm, iteration {int(self.steps)}: {text}', 'current', logging.WARNING)


def _gradient_lengths(student: Tensor, logits: Tensor, valid: Tensor) -> Tensor:
    """(n,) of the valid cells: ‖∂ −log(1 − D) / ∂f‖ · ‖f‖, each cell's share in the sum over cells."""
    if not torch.is_grad_enabled() or not student.requires_grad:
        return student.new_zeros(int(valid.sum()))
    (slope,) = torch.autograd.grad(F.softplus(logits)[valid].sum(), student, retain_graph=True)
    return (slope.norm(dim=1, keepdim=True) * student.detach().norm(dim=1, keepdim=True))[valid]
