"""What the preflight reports: findings, and the rows of its tables."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..align.oracle import OracleCheck
from ..align.plan import Level


@dataclass(frozen=True)
class Finding:
    """Something wrong. `error` stops a training, a warning does not; `key` is the config key to look at."""

    error: bool
    key: str
    text: str

    def __str__(self) -> str:
        return f'{self.key}: {self.text}'


def error(key: str, text: str) -> Finding:
    return Finding(True, key, text)


def warning(key: str, text: str) -> Finding:
    return Finding(False, key, text)


@dataclass(frozen=True)
class LevelRow:
    """One pyramid level in the report: the `sizes` that it fits (HR pixels), the `share` of the training boxes in them,
    `partner`: the levels of the other network that it meets, and `positives`: its share of the positives in training
    (None: not counted, see `mmpd.align.positives`)."""

    level: Level
    channels: int
    sizes: tuple[float, float]
    share: float
    partner: str
    positives: float | None = None


@dataclass(frozen=True)
class LossRow:
    """One named loss of the first step. `term` is the config key of the term, '' for the student's own losses.
    `gradient` is the norm of its gradient at the student's parameters."""

    name: str
    term: str
    value: float
    gradient: float


@dataclass
class StageCheck:
    """What the preflight found in one stage.

    Attributes:
        levels: 'student' (the trained network) and 'guide' → rows, finest level first.
        gaps: sizes (HR pixels) that a guide level fits and no student level does, with the share of the boxes.
        losses: rows of the first step.
        inputs: 'student' and 'guide' → (h, w) of the first real batch in the network's own pixels, padded.
        data: one line per training set; boxes: how many; tiny, below_cell: with a side below one pixel of the trained
            network, below one cell of its finest level.
        oracle: where the student hears of objects, see `mmpd.align.oracle`; None: no guide, or it can't be measured.
    """

    name: str
    ratio: str
    findings: list[Finding] = field(default_factory=list)
    levels: dict[str, list[LevelRow]] = field(default_factory=dict)
    gaps: list[tuple[float, float, float]] = field(default_factory=list)
    losses: list[LossRow] = field(default_factory=list)
    inputs: dict[str, tuple[int, int]] = field(default_factory=dict)
    data: list[str] = field(default_factory=list)
    boxes: int = 0
    tiny: int = 0
    below_cell: int = 0
    adapters: list[str] = field(default_factory=list)
    oracle: OracleCheck | None = None

    @property
    def errors(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.error]
