"""The cross-resolution terms of RKD (Feng et al. 2021). The formulas are ours, in the field's standard forms."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from mmdet.registry import MODELS
from torch import Tensor

from ..align.alignment import Alignment
from ..distill.step import Step
from ..errors import ConfigError
from ..heads.base import responses
from ..losses.mmd import mmd2
from ..losses.pairwise import pairwise_loss
from ..losses.resolution import resolution_weights, score_divergence
from .matched import MatchedTerm
from .response import ResponseTerm


class VectorTerm(MatchedTerm):
    """Base of the terms on vectors of the same places: objects' cells of detectors, images of classifiers.

    Mean over levels, each weighing as many vectors as it holds.

    Args:
        max_cells: vectors a level, at least 2; more are thinned out evenly, so that the cost does not grow with images.
    """

    def __init__(self, alignment: Alignment, loss_weight: float, max_cells: int, adapt: bool) -> None:
        super().__init__(alignment, loss_weight, adapt)
        if max_cells < 2:
            raise ConfigError(f'{type(self).__name__}: max_cells = {max_cells}, and two make a pair: give at least 2')
        self.max_cells = max_cells

    def mean_of(self, loss: Callable[[Tensor, Tensor], Tensor], step: Step) -> Tensor:
        """Mean over levels of loss(student (n, C), guide (n, C)), in float32, weighed by n; 0 without a pair."""
        pairs = step.vector_pairs(self.max_cells)
        counts = [len(pair.student) if len(pair.student) > 1 else 0 for pair in pairs]
        with torch.autocast(step.images_lr.device.type, enabled=False):
            losses = [
                count * loss(self.adapted(pair.level, pair.student.float()), pair.guide.float())
                for count, pair in zip(counts, pairs, strict=True)
            ]
        return torch.stack(losses).sum() / max(sum(counts), 1)


@MODELS.register_module()
class PairwiseTerm(VectorTerm):
    """The pair-wise constraint, see `pairwise_loss`: which places (or images) look alike, the guide knows better."""

    def __init__(self, alignment: Alignment, loss_weight: float = 10.0, max_cells: int = 256) -> None:
        super().__init__(alignment, loss_weight, max_cells, adapt=False)

    def forward(self, step: Step) -> dict[str, Tensor]:
        return {'loss_pairwise': self.loss_weight * self.mean_of(pairwise_loss, step)}


@MODELS.register_module()
class MMDTerm(VectorTerm):
    """MMD² of the two sets of vectors, see `mmd2`. Unbiased, so its log falls below zero once the sets are alike."""

    def __init__(self, alignment: Alignment, loss_weight: float = 5.0, max_cells: int = 256) -> None:
        super().__init__(alignment, loss_weight, max_cells, adapt=True)

    def forward(self, step: Step) -> dict[str, Tensor]:
        return {'loss_mmd': self.loss_weight * self.mean_of(mmd2, step)}


@MODELS.register_module()
class ResolutionTerm(ResponseTerm):
    """`ResponseTerm` in which a location counts by what resolution costs the guide there. It takes that term's place.

    w = divergence of the guide's class scores on the HR image from those on the LR image enlarged to HR size, at the
    guide's location that the student's hears. Where the guide is sure of something (score ≥ threshold) on either image,
    w has mean 1; elsewhere w = 1, or the few objects would share the weight of the whole background. Class, box and
    quality losses are times w. The second image costs one more forward of the guide a step, which `guide_cache` saves
    as it saves the first.

    Args:
        aware: False: w = 1 everywhere and no second forward.
        kwargs: as `ResponseTerm`.
    """

    prefix = 'loss_resolution'

    def __init__(self, alignment: Alignment, aware: bool = True, **kwargs: float | bool) -> None:
        super().__init__(alignment, **kwargs)  # type: ignore[arg-type]
        self.aware = aware

    @torch.no_grad()
    def emphasis(self, step: Step) -> Sequence[Tensor | None]:
        """w (B, n) of each aligned level; mean 1 over the batch."""
        if not self.aware:
            return super().emphasis(step)
        alignment = step.alignment
        costs: list[Tensor] = []
        sure: list[Tensor] = []
        on_hr, on_lr = (responses(alignment.guide.head, taps['head']) for taps in (step.guide, step.guide_on_lr))
        divergences = [score_divergence(hr.logits, lr.logits) for hr, lr in zip(on_hr, on_lr, strict=True)]
        best = [torch.maximum(*(of.scores().amax(2) for of in both)) for both in zip(on_hr, on_lr, strict=True)]
        for match, aligned in zip(alignment.plan.served(), step.aligned_responses, strict=True):
            source = aligned.response.source
            for wanted, levels in ((costs, divergences), (sure, best)):
                own = levels[match.guides[0]] if source is None else torch.cat(levels, 1).gather(1, source)
                wanted.append(own)
        weights = resolution_weights(torch.cat(costs, 1), torch.cat(sure, 1) >= self.threshold)
        return list(weights.split([cost.shape[1] for cost in costs], dim=1))
