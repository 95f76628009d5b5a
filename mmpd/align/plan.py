"""The AFP plan: which guide levels serve which student level. A pure function of two pyramids and the ratio.

Units: strides and anchor sides of a network are in its own pixels; "HR" values of a student level are times ratio.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from ..errors import ConfigError

PLANS = ('auto', 'window', 'resample')
OCTAVE = 1.001
"""log2 of the largest ratio of sizes that still meet. Pyramids step by exactly 2, where rounding would decide."""


@dataclass(frozen=True)
class Level:
    """One pyramid level of a head.

    Attributes:
        stride: pixels between two cells.
        anchors: (w, h) of the anchors of one cell, in order; empty for point heads.
        offset: position of a cell's prior inside the cell, in strides (0 for mmdet anchors, 0.5 for points).
        size_range: (min, max) object size in pixels that the level is trained for, where the head has one (FCOS).
    """

    stride: float
    anchors: tuple[tuple[float, float], ...] = ()
    offset: float = 0.0
    size_range: tuple[float, float] | None = None

    @property
    def size(self) -> float:
        """Side of the typical object of this level in pixels: geometric mean of the anchors, 8 strides for points."""
        if not self.anchors:
            return 8.0 * self.stride
        return math.exp(sum(math.log(w * h) for w, h in self.anchors) / (2 * len(self.anchors)))

    def scaled(self, ratio: float | Fraction) -> Level:
        """The same level measured in pixels that are `ratio` times smaller."""
        factor = float(ratio)
        size_range = tuple(side * factor for side in self.size_range) if self.size_range else None
        anchors = tuple((w * factor, h * factor) for w, h in self.anchors)
        return Level(self.stride * factor, anchors, self.offset, size_range)  # type: ignore[arg-type]

    def same_priors(self, other: Level) -> bool:
        """Equal stride, anchors, offset and size range: one grid, one set of priors."""
        if not _close((self.stride, self.offset), (other.stride, other.offset)):
            return False
        if self.size_range and other.size_range and not _close(self.size_range, other.size_range):
            return False
        return len(self.anchors) == len(other.anchors) and all(map(_close, self.anchors, other.anchors))


def _close(left: Sequence[float], right: Sequence[float]) -> bool:
    return all(a == b or math.isclose(a, b, rel_tol=1e-4, abs_tol=1e-6) for a, b in zip(left, right, strict=True))


@dataclass(frozen=True)
class Match:
    """Guide levels that serve one student level; none: the level is masked. `exact`: same grid, same priors."""

    student: int
    guides: tuple[int, ...]
    exact: bool


@dataclass(frozen=True)
class AlignmentPlan:
    """Who lines up with whom. Levels are in the pixels of their own network."""

    kind: str
    ratio: Fraction
    guide: tuple[Level, ...]
    student: tuple[Level, ...]
    matches: tuple[Match, ...]

    @property
    def unserved(self) -> tuple[int, ...]:
        """Guide levels that no student level takes."""
        used = {guide for match in self.matches for guide in match.guides}
        return tuple(index for index in range(len(self.guide)) if index not in used)

    def served(self) -> list[Match]:
        """The matches of the student levels that are not masked, finest first."""
        return [match for match in self.matches if match.guides]


def plan_alignment(
    guide: Sequence[Level], student: Sequence[Level], ratio: Fraction | int, kind: str = 'auto'
) -> AlignmentPlan:
    """Plan the alignment of a student pyramid (LR) to a guide pyramid (HR).

    window: a student level takes the guide level with equal stride and priors in HR pixels, or none.
    resample: a student level takes the guide level whose anchors are nearest in log size, and in addition every guide
    level whose nearest student level it is; so what the guide knows on a level without an equal still arrives ("ours";
    one guide level alone lost the objects of all finer levels).
    auto: window where every guide level has an equal, else resample. On bccd at ratio 4 the finest one has none,
    and the guide kept 80 % of its AP through the window plan, 99.9 % through the resample plan (docs/results.md).

    Args:
        guide: levels of the guide, strides and anchors in HR pixels.
        student: levels of the student, in LR pixels.
        ratio: HR side / LR side.
        kind: 'auto', 'window' or 'resample'.

    Raises:
        ConfigError: unknown kind, an empty pyramid, or a window plan in which no level meets.
    """
    if kind not in PLANS:
        raise ConfigError(f'align = {kind!r} is unknown: use one of {PLANS}')
    if not guide or not student:
        raise ConfigError(
            f'align: guide has {len(guide)} pyramid levels, student {len(student)}; both need at least one'
        )
    student_hr = [level.scaled(ratio) for level in student]
    windows = _window_matches(guide, student_hr)
    if kind == 'auto':
        met = {level for match in windows for level in match.guides}
        kind = 'window' if len(met) == len(guide) else 'resample'
    if kind == 'window' and not any(match.guides for match in windows):
        have, want = (
            f'strides {[level.stride for level in levels]}, sizes {[round(level.size, 1) for level in levels]}'
            for levels in (student_hr, guide)
        )
        raise ConfigError(
            f"align = 'window', but no student level meets a guide level at ratio {ratio} (HR pixels): the student has "
            f"{have}; the guide {want}. Set align = 'resample', or change student_pyramid or the anchors in overrides"
        )
    matches = windows if kind == 'window' else _resample_matches(guide, student_hr)
    return AlignmentPlan(kind, Fraction(ratio), tuple(guide), tuple(student), tuple(matches))


def _window_matches(guide: Sequence[Level], student_hr: Sequence[Level]) -> list[Match]:
    matches = []
    for index, level in enumerate(student_hr):
        equal = tuple(j for j, candidate in enumerate(guide) if level.same_priors(candidate))[:1]
        matches.append(Match(index, equal, exact=bool(equal)))
    return matches


def _resample_matches(guide: Sequence[Level], student_hr: Sequence[Level]) -> list[Match]:
    def distance(g: int, s: int) -> float:
        return abs(math.log2(guide[g].size / student_hr[s].size))

    takes: dict[int, set[int]] = {index: set() for index in range(len(student_hr))}
    for s in takes:
        nearest = min(range(len(guide)), key=lambda g, s=s: distance(g, s))  # type: ignore[misc]
        if distance(nearest, s) <= OCTAVE:  # further than a factor 2 there is no object that both would find
            takes[s].add(nearest)
    for g in range(len(guide)):
        nearest = min(takes, key=lambda s, g=g: distance(g, s))  # type: ignore[misc]
        if guide[g].size <= student_hr[nearest].size * 2**OCTAVE:
            takes[nearest].add(g)
    matches = []
    for s, levels in takes.items():
        guides = tuple(sorted(levels))
        exact = len(guides) == 1 and guide[guides[0]].same_priors(student_hr[s])
        matches.append(Match(s, guides, exact))
    return matches
