"""AFP at run time: the plan applied to features and responses.

Legend: h, w = student grid; B = batch; n = h·w·A locations in the order (h, w, A); C = classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..errors import ConfigError
from ..heads.base import LevelResponse
from .plan import AlignmentPlan, Level, Match, plan_alignment
from .resample import covered_cells, covered_index, resample_features, window_weights

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
        side = student.probe_side or PROBE_CELLS * ratio.denominator
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
            return f'{type(who.net).__name__} has no dense head that AFP knows'
        for owner, head in (('guide', self.guide.head), ('student', self.student.head)):
            if not getattr(head, 'use_sigmoid_cls', True):
                return f'the {owner} head {type(head).__name__} scores with a softmax, and the term compares sigmoids'
        classes = [head.cls_out_channels for head in (self.guide.head, self.student.head)]
        if classes[0] != classes[1]:
            return f'the guide head scores {classes[0]} classes per prior, the student head {classes[1]}'
        for match in self.plan.served():
            counts = {max(len(self.plan.guide[g].anchors), 1) for g in match.guides}
            counts.add(max(len(self.plan.student[match.student].anchors), 1))
            if len(counts) > 1:
                return (
                    f'student level {match.student} and its guide levels {match.guides} have {counts} priors per cell'
                )
        return None

    def distribution_problem(self) -> str | None:
        """Why the distance distributions of this pair (GFL) cannot be compared where strides agree; None: they can."""
        bins = [getattr(view.head, 'reg_max', None) for view in (self.guide, self.student)]
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

    def responses(self, guide: Sequence[LevelResponse], grids: Sequence[tuple[int, int]]) -> list[AlignedResponse]:
        """Guide responses per student location: its own in a window, else the most confident of the covered cells."""
        aligned = []
        for match in self.plan.served():
            if match.exact:
                response = guide[match.guides[0]]
            else:
                response = self._most_confident(match, guide, grids[match.student])
            aligned.append(AlignedResponse(match.student, match.exact, response))
        return aligned

    def _weights(
        self, student: int, guide: int, grid: tuple[int, int], guide_grid: Sequence[int]
    ) -> tuple[Tensor, Tensor]:
        level_lr, level_hr = self.plan.student[student], self.plan.guide[guide]
        stride_hr = level_lr.stride * float(self.ratio)
        offsets = (level_lr.offset, level_hr.offset)
        weights = [
            window_weights(int(n), int(n_guide), stride_hr, level_hr.stride, *offsets)
            for n, n_guide in zip(grid, guide_grid, strict=True)
        ]
        return weights[0], weights[1]

    def _most_confident(self, match: Match, guide: Sequence[LevelResponse], grid: tuple[int, int]) -> LevelResponse:
        """Per student location and anchor, the covered guide cell with the highest score lends scores and box."""
        n_anchors = max(len(self.plan.student[match.student].anchors), 1)
        tables, starts, start = [], [], 0
        for level in match.guides:
            weights = self._weights(match.student, level, grid, guide[level].grid)
            cells = covered_index(covered_cells(weights[0]), covered_cells(weights[1]), guide[level].grid[1])
            tables.append(cells)
            starts.append(start)
            start += guide[level].logits.shape[1]
        candidates = [guide[level] for level in match.guides]
        logits = torch.cat([c.logits for c in candidates], dim=1)
        boxes = torch.cat([c.boxes for c in candidates], dim=1)
        qualities = [c.quality for c in candidates if c.quality is not None]
        quality = torch.cat(qualities, dim=1) if qualities else None
        best_score = torch.cat([c.scores().amax(dim=2) for c in candidates], dim=1)  # (B, all guide locations)
        # (h·w·A, K): flat locations of the covered cells, same anchor index
        anchor = torch.arange(n_anchors)
        index = torch.cat(
            [
                s + (t[:, None, :] * n_anchors + anchor[None, :, None]).flatten(0, 1)
                for s, t in zip(starts, tables, strict=True)
            ],
            dim=1,
        ).to(logits.device)
        choice = best_score[:, index].argmax(dim=2)  # (B, n)
        chosen = index[torch.arange(len(index), device=index.device), choice]
        gather = chosen[..., None]
        return LevelResponse(
            logits=logits.gather(1, gather.expand(-1, -1, logits.shape[2])),
            boxes=boxes.gather(1, gather.expand(-1, -1, 4)),
            quality=None if quality is None else quality.gather(1, chosen),
            distribution=None,
            grid=grid,
        )
