"""AFP at run time: the plan applied to features and responses.

Legend: h, w = student grid; B = batch; n = h·w·A locations in the order (h, w, A); C = classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from torch import Tensor

from ..errors import ConfigError
from ..heads.response import LevelResponse
from .memo import Memo
from .placing import placed_responses
from .plan import AlignmentPlan, Level, Match, plan_alignment
from .resample import resample_features, window_weights

if TYPE_CHECKING:
    from ..distill.view import NetworkView

PROBE_CELLS = 256


@dataclass
class AlignedFeatures:
    """Guide features of one student level on the student's grid: (B, C_guide, h, w)."""

    student: int
    guide: int
    features: Tensor


@dataclass
class AlignedResponse:
    """Guide responses of one student level, one per student location; boxes (B, n, 4) in absolute HR pixels."""

    student: int
    exact: bool
    response: LevelResponse


def probe_side(guide: NetworkView, student: NetworkView, ratio: Fraction) -> int:
    """Side of the LR images at which the shapes of a pair are measured.

    Raises:
        ConfigError: both are made for images of one size, and the ratio does not lie between the two.
    """
    if student.probe_side and guide.probe_side and student.probe_side * ratio != guide.probe_side:
        raise ConfigError(
            f'the guide is made for images of {guide.probe_side} pixels, the student for {student.probe_side}: '
            f'at ratio {ratio} it sees {float(guide.probe_side / ratio):g}; take a detector for images of any '
            'size as one of the two'
        )
    if guide.probe_side and not student.probe_side:
        return int(guide.probe_side / ratio)
    return student.probe_side or PROBE_CELLS * ratio.denominator


class Alignment:
    """The plan of a guide-student pair, with the shapes that the terms are built from.

    Args:
        guide: view of the guide (HR).
        student: view of the student (LR).
        ratio: HR side / LR side of this pair, 1 for the assistant stage.
        kind: 'auto', 'window' or 'resample'.

    Attributes:
        plan: see `plan_alignment`.
        stem: shape of the student's stem; guide_feats, student_feats: shapes of the feature maps.
        positives: positives of each student level in training, see `mmpd.align.positives`; None: not counted. `AFPHook`
            counts them before the first iteration of every run, also a resumed one, and gets the same.
    """

    def __init__(self, guide: NetworkView, student: NetworkView, ratio: Fraction, kind: str = 'auto') -> None:
        self.guide = guide
        self.student = student
        self.ratio = ratio
        side = probe_side(guide, student, ratio)
        self.stem, self.student_feats = student.probe(side, side)
        hr_side = int(side * ratio)
        _, self.guide_feats = guide.probe(hr_side, hr_side)
        self._check_levels('guide', guide.levels(self.guide_feats), len(self.guide_feats))
        self._check_levels('student', student.levels(self.student_feats), len(self.student_feats))
        self.plan: AlignmentPlan = plan_alignment(
            guide.levels(self.guide_feats), student.levels(self.student_feats), ratio, kind
        )
        self.positives: tuple[int, ...] | None = None

    def trains(self, student: int) -> bool:
        """Whether a student level has positives in training; True where that was not counted."""
        return self.positives is None or self.positives[student] > 0

    @property
    def made_for(self) -> int | None:
        """Side of the LR images that the pair takes, where one of the two is made for one size; None: any."""
        fixed = self.student.probe_side or self.guide.probe_side
        return probe_side(self.guide, self.student, self.ratio) if fixed else None

    @staticmethod
    def _check_levels(owner: str, levels: Sequence[Level], n_feats: int) -> None:
        if len(levels) != n_feats:
            raise ConfigError(
                f'{owner}: the head has {len(levels)} levels with strides {[level.stride for level in levels]}, but '
                f"the neck gives {n_feats} feature maps; make neck.num_outs and the head's strides agree in overrides"
            )

    def response_problem(self) -> str | None:
        """Why responses of this pair cannot be compared; None where they can."""
        if self.guide.head is None or self.student.head is None:
            who = self.guide if self.guide.head is None else self.student
            any_head = getattr(who, 'any_head', None)
            head = 'none' if any_head is None else type(any_head).__name__
            return (
                f'{type(who.net).__name__} has no dense head that AFP knows (its head: {head}; see docs/detectors.md, '
                'and docs/extending.md to add a family)'
            )
        for owner, known in (('guide', self.guide.head), ('student', self.student.head)):
            if not getattr(known, 'use_sigmoid_cls', True):
                return f'the {owner} head {type(known).__name__} scores with a softmax, and the term compares sigmoids'
        classes = [head.cls_out_channels for head in (self.guide.head, self.student.head)]
        if classes[0] != classes[1]:
            return f'the guide head scores {classes[0]} classes per prior, the student head {classes[1]}'
        return None

    def distribution_problem(self) -> str | None:
        """Why the distance distributions of this pair (GFL) cannot be compared where strides agree; None: they can."""
        bins: list[Any] = [getattr(view.head, 'reg_max', None) for view in (self.guide, self.student)]
        if None in bins or bins[0] == bins[1] or not any(match.exact for match in self.plan.matches):
            return None
        return (
            f'reg_max is {bins[0]} in the guide head and {bins[1]} in the student head, so their distributions have '
            f'{bins[0] + 1} and {bins[1] + 1} bins; set the same bbox_head.reg_max in overrides'
        )

    def main_guide(self, match: Match) -> int:
        """The guide level nearest in size, whose features serve a student level."""
        size = self.plan.student[match.student].size * float(self.ratio)
        return min(match.guides, key=lambda g: abs(math.log(self.plan.guide[g].size / size)))

    def features(self, feats_hr: Sequence[Tensor], grids: Sequence[tuple[int, int]]) -> list[AlignedFeatures]:
        """Guide features (B, C, H, W) per level on the grids (h, w) of the student's levels."""
        aligned = []
        for match in self.plan.served():
            guide = self.main_guide(match)
            feature, grid = feats_hr[guide], grids[match.student]
            if not match.exact:
                feature = resample_features(feature, *self._weights(match.student, guide, grid, feature.shape[-2:]))
            aligned.append(AlignedFeatures(match.student, guide, feature))
        return aligned

    def responses(
        self, guide: Sequence[LevelResponse], grids: Sequence[tuple[int, int]], memo: Memo | None = None
    ) -> list[AlignedResponse]:
        """Guide responses per student location: its own in a window, else see `mmpd.align.placing`."""
        matches = self.plan.served()
        windows = [match for match in matches if match.exact]
        if len(windows) == len(matches):
            levels = {match.student: guide[match.guides[0]] for match in matches}
        else:
            levels = dict(enumerate(placed_responses(self.plan, self.student.head, guide, grids, memo, windows)))
        return [AlignedResponse(match.student, match.exact, levels[match.student]) for match in matches]

    def _weights(
        self, student: int, guide: int, grid: tuple[int, int], guide_grid: Sequence[int]
    ) -> tuple[Tensor, Tensor]:
        level_lr, level_hr = self.plan.student[student], self.plan.guide[guide]
        stride_hr = level_lr.stride * float(self.ratio)
        offsets = (self.student.centre, self.guide.centre)
        weights = [
            window_weights(int(n), int(n_guide), stride_hr, level_hr.stride, *offsets)
            for n, n_guide in zip(grid, guide_grid, strict=True)
        ]
        return weights[0], weights[1]
