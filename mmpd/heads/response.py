"""What a dense head says at its locations, of one level or of several as one.

Legend: B = batch, A = priors per cell, C = classes, n = h·w·A in the order (h, w, A).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

BoxesAt = Callable[[Tensor, Tensor], Tensor]
"""(image (m,), location (m,)) to boxes (m, 4)."""


@dataclass
class LevelResponse:
    """What a head says on one level, before any threshold or NMS.

    Attributes:
        logits: (B, n, C) class logits.
        boxes: (B, n, 4) decoded x1 y1 x2 y2, pixels of the network's own input.
        quality: (B, n) logits of centerness or objectness, where the head has it.
        distribution: (B, n, 4, reg_max + 1) logits of the distances in strides, where the head has it (GFL).
        grid: (h, w).
        source: (B, n), where the response was placed on another network's locations: the flat location (level, h, w, A)
            of its own network that each of them hears.
    """

    logits: Tensor
    boxes: Tensor
    quality: Tensor | None
    distribution: Tensor | None
    grid: tuple[int, int]
    source: Tensor | None = None

    def boxes_at(self, image: Tensor, location: Tensor) -> Tensor:
        """(m, 4) boxes of m locations: image, location (m,) int64. Cheaper than `boxes` where few are wanted."""
        return self.boxes[image, location]

    def logits_at(self, image: Tensor, location: Tensor) -> Tensor:
        """(m, C) logits of m locations, in the same way."""
        return self.logits[image, location]

    @property
    def count(self) -> int:
        """n."""
        return self.logits.shape[1]

    @property
    def best(self) -> Tensor:
        """(B, n) best logit of each location."""
        return self.logits.amax(dim=2)

    def confidence(self) -> Tensor:
        """(B, n) best score of each location."""
        best = self.best.float().sigmoid()
        return best if self.quality is None else best * self.quality.float().sigmoid()

    def scores(self) -> Tensor:
        """(B, n, C) probabilities, times quality where the head has it."""
        scores = self.logits.float().sigmoid()
        return scores if self.quality is None else scores * self.quality.float().sigmoid()[..., None]


class Rows:
    """A head's maps read as rows, n of all levels in the order (level, h, w, A).

    A copy of all of them is made where `all` is asked for. Of a guide's class scores, which are most of what a head
    says, no term needs more than a row for each location of the student.

    Args:
        maps: per level (B, A·k, h, w). counts: locations h·w·A of each.
    """

    def __init__(self, maps: Sequence[Tensor], counts: Sequence[int]) -> None:
        self.counts = counts
        self.levels = [
            level.flatten(2).unflatten(1, (count // level[0, 0].numel(), -1))
            for level, count in zip(maps, counts, strict=True)
        ]  # (B, A, k, h·w), views
        self.shape = (len(maps[0]), sum(counts), self.levels[0].shape[2])

    @cached_property
    def all(self) -> Tensor:
        """(B, n, k)."""
        cells = [level.flatten(1, 2).transpose(1, 2) for level in self.levels]
        if len({level.shape[2] for level in cells}) > 1:
            cells = [level.reshape(len(level), count, -1) for level, count in zip(cells, self.counts, strict=True)]
        return torch.cat(cells, dim=1).view(self.shape)

    @cached_property
    def best(self) -> Tensor:
        """(B, n) the largest of each row."""
        return torch.cat([level.amax(dim=2).transpose(1, 2).flatten(1) for level in self.levels], dim=1)

    def at(self, image: Tensor, location: Tensor) -> Tensor:
        """(m, k) rows of m locations: image, location (m,)."""

        def of(level: int) -> BoxesAt:
            maps = self.levels[level]
            return lambda image, own: maps[image, own % maps.shape[1], :, own // maps.shape[1]]

        return level_by_level([of(level) for level in range(len(self.levels))], self.counts)(image, location)


class LazyResponse(LevelResponse):
    """A response whose boxes are made when they are asked for: decoding all of them costs more than the losses do.

    Args:
        logits: (B, n, C), or the `Rows` of a whole head.
        boxes_at: see `BoxesAt`.

    Attributes:
        whole, start: the response of several levels that this one is a part of, and its first location there.
    """

    def __init__(
        self,
        logits: Tensor | Rows,
        quality: Tensor | None,
        distribution: Tensor | None,
        grid: tuple[int, int],
        boxes_at: BoxesAt,
        source: Tensor | None = None,
    ) -> None:
        self.quality, self.distribution, self.grid = quality, distribution, grid
        self.source = source
        self.whole: LazyResponse | None = None
        self.start = 0
        self._logits, self._boxes_at = logits, boxes_at
        self._count = logits.shape[1]

    @property
    def count(self) -> int:
        return self._count

    def boxes_at(self, image: Tensor, location: Tensor) -> Tensor:
        return self._boxes_at(image, location)

    def logits_at(self, image: Tensor, location: Tensor) -> Tensor:
        if self.whole is not None:
            return self.whole.logits_at(image, location + self.start)
        return self._logits.at(image, location) if isinstance(self._logits, Rows) else self._logits[image, location]

    @cached_property
    def logits(self) -> Tensor:  # type: ignore[override]
        if self.whole is not None:
            return self.whole.logits[:, self.start : self.start + self.count]
        return self._logits.all if isinstance(self._logits, Rows) else self._logits

    @cached_property
    def best(self) -> Tensor:  # type: ignore[override]
        if self.whole is not None:
            return self.whole.best[:, self.start : self.start + self.count]
        return self._logits.best if isinstance(self._logits, Rows) else self._logits.amax(dim=2)

    @cached_property
    def boxes(self) -> Tensor:  # type: ignore[override]
        image, location = torch.ones_like(self.best).nonzero(as_tuple=True)
        return self._boxes_at(image, location).view(-1, self.count, 4)

    def part(self, start: int, count: int, grid: tuple[int, int]) -> LazyResponse:
        """`count` locations from `start` on, as views."""

        def at(image: Tensor, location: Tensor) -> Tensor:
            return self._boxes_at(image, location + start)

        own = slice(start, start + count)
        quality = None if self.quality is None else self.quality[:, own]
        source = None if self.source is None else self.source[:, own]
        part = LazyResponse(self._logits, quality, None, grid, at, source)
        part.whole, part.start, part._count = self, start, count
        return part

    def split(self, counts: Sequence[int], grids: Sequence[tuple[int, int]]) -> list[LazyResponse]:
        """Cut into levels of so many locations each; `joined` finds the whole again."""
        starts = [sum(counts[:index]) for index in range(len(counts))]
        return [self.part(*cut) for cut in zip(starts, counts, grids, strict=True)]


def joined(levels: Sequence[LevelResponse]) -> LevelResponse:
    """Levels as one response, their locations one after the other; without distributions.

    Levels that follow one another in what they were cut from cost nothing.
    """
    counts = [level.count for level in levels]
    first = levels[0]
    if isinstance(first, LazyResponse) and first.whole is not None:
        starts = [first.start + sum(counts[:index]) for index in range(len(counts))]
        cuts = [(getattr(level, 'whole', None), getattr(level, 'start', None)) for level in levels]
        if cuts == [(first.whole, start) for start in starts]:
            whole = first.whole
            return whole if sum(counts) == whole.count else whole.part(first.start, sum(counts), (1, sum(counts)))
    qualities = [level.quality for level in levels if level.quality is not None]
    return LazyResponse(
        torch.cat([level.logits for level in levels], dim=1),
        torch.cat(qualities, dim=1) if len(qualities) == len(levels) else None,
        None,
        (1, sum(counts)),
        level_by_level([level.boxes_at for level in levels], counts),
    )


def level_by_level(levels: Sequence[BoxesAt], counts: Sequence[int]) -> BoxesAt:
    """The boxes (or logits) of levels of so many locations each, whose locations come one after the other."""

    def at(image: Tensor, location: Tensor) -> Tensor:
        order, parts, start = [], [], 0
        for boxes_at, count in zip(levels, counts, strict=True):
            own = ((location >= start) & (location < start + count)).nonzero().flatten()
            if len(own):
                order.append(own)
                parts.append(boxes_at(image[own], location[own] - start))
            start += count
        if len(parts) < 2:
            return parts[0] if parts else levels[0](image, location)
        which = torch.cat(order)
        return torch.cat(parts)[torch.empty_like(which).scatter_(0, which, torch.arange(len(which)).to(which))]

    return at
