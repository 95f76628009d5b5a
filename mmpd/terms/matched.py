"""What the terms share that compare both networks at the same places: adapters between unequal widths."""

from __future__ import annotations

from torch import Tensor, nn

from ..align.alignment import Alignment
from .base import Term


class MatchedTerm(Term):
    """A term on aligned maps, or on vectors picked from them.

    Where the widths differ, a learned 1×1 convolution brings the student's map to the guide's width. It is on the
    student's side of every loss, part of the term, and leaves no key in the student.

    Attributes:
        pools: classifiers are compared by the means of their last maps, as `Step.map_pairs` has them.
    """

    pools = True

    def __init__(self, alignment: Alignment, loss_weight: float = 1.0, adapt: bool = True) -> None:
        super().__init__(alignment, loss_weight)
        self.widths = widths(alignment, self.pools)
        self.adapters = nn.ModuleDict(
            {
                str(level): nn.Conv2d(have, want, 1)
                for level, (have, want) in self.widths.items()
                if adapt and have != want
            }
        )

    def adapted(self, level: int, features: Tensor) -> Tensor:
        """A student's maps (B, c, h, w) or vectors (n, c) with the guide's width."""
        if str(level) not in self.adapters:
            return features
        if features.ndim == 2:
            return self.adapters[str(level)](features[..., None, None])[..., 0, 0]
        return self.adapters[str(level)](features)


def widths(alignment: Alignment, pools: bool) -> dict[int, tuple[int, int]]:
    """Student level → channels of the student and of the guide map that it is compared with."""
    if pools and alignment.student.pooled:
        last = len(alignment.student_feats) - 1
        return {last: (alignment.student_feats[last].channels, alignment.guide_feats[-1].channels)}
    return {
        match.student: (
            alignment.student_feats[match.student].channels,
            alignment.guide_feats[alignment.main_guide(match)].channels,
        )
        for match in alignment.plan.served()
    }
