"""Distillation terms: thin registered modules that hold weights, and call one pure loss each.

A term is built with the pair's `Alignment` and called with a `Step`; it returns named losses. Register your own in
mmdet's MODELS with the same two signatures, see docs/extending.md.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

from torch import Tensor, nn

from ..align.alignment import Alignment
from ..distill.step import Step
from ..errors import ConfigError


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
        self.loss_weight = self.number('loss_weight', loss_weight)

    def number(self, option: str, value: Any, most: float = math.inf, positive: bool = False) -> float:
        """The value of an option, a number in [0, most], above 0 where it must be `positive`. Raises ConfigError."""
        good = isinstance(value, (int, float)) and math.isfinite(value) and 0 <= value <= most
        if not good or (positive and not value):
            wanted = 'a number above 0' if positive else 'a number, at least 0'
            wanted += f' and at most {most:g}' if math.isfinite(most) else ''
            raise ConfigError(f'{option} = {value!r} of the term {type(self).__name__}: give {wanted}')
        return value

    def forward(self, step: Step) -> dict[str, Tensor]:
        raise NotImplementedError(f'{type(self).__name__} must return its named losses')


class BoxTerm(Term):
    """Base of the terms that compare class scores, and boxes where the guide is confident.

    Args:
        box_weight: factor of the box losses relative to the class loss; 0: classes (and quality) alone.
        threshold: guide confidence below which a box weighs zero.
        temperature: of the softmaxes that the term compares; None: `default_temperature`.
    """

    default_temperature = 1.0

    def __init__(
        self,
        alignment: Alignment,
        loss_weight: float = 1.0,
        box_weight: float = 1.0,
        threshold: float = 0.1,
        temperature: float | None = None,
    ) -> None:
        super().__init__(alignment, loss_weight)
        self.box_weight = self.number('box_weight', box_weight)
        self.threshold = self.number('threshold', threshold, most=1)
        self.temperature = self.number(
            'temperature', self.default_temperature if temperature is None else temperature, positive=True
        )
