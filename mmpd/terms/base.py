"""Distillation terms: thin registered modules that hold weights, and call one pure loss each.

A term is built with the pair's `Alignment` and called with a `Step`; it returns named losses. Register your own in
mmdet's MODELS with the same two signatures, see docs/extending.md.
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor, nn

from ..align.alignment import Alignment
from ..distill.step import Step


class Term(nn.Module):
    """Base of all terms.

    Args:
        alignment: the pair's alignment (shapes and plan), given by the Distiller.
        loss_weight: factor of every loss of the term, ≥ 0.

    Attributes:
        needs_guide_head: the term reads the guide's head outputs.
        own_loss_weight: factor of the student's own losses while the term is on. A term that takes their place in part
            (KD: 1 - alpha) says so here and not in the student's config, which the plain controls share.
        retired: options of earlier versions → the value at which they are still read.
    """

    needs_guide_head = False
    own_loss_weight = 1.0
    retired: ClassVar[dict[str, Any]] = {}

    def __init__(self, alignment: Alignment, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, step: Step) -> dict[str, Tensor]:
        raise NotImplementedError(f'{type(self).__name__} must return its named losses')
