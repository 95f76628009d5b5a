"""What AFP needs to know of a dense head: its levels, and its raw outputs as scores and boxes.

A head family is one function, `decode`: how the head's box predictions become boxes. Everything else (levels, priors,
layout) is read from mmdet's own `prior_generator`. Add a family with `@register_family(HeadClass)`.

Legend: B = batch, A = priors per cell, C = classes, n = h·w·A in the order (h, w, A).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import torch
from mmdet.models.dense_heads import (
    AnchorHead,
    ATSSHead,
    AutoAssignHead,
    DDODHead,
    FCOSHead,
    FSAFHead,
    GFLHead,
    PAAHead,
    PISASSDHead,
    RetinaHead,
    RetinaSepBNHead,
    RPNHead,
    RTMDetHead,
    RTMDetSepBNHead,
    SSDHead,
    YOLOFHead,
)
from mmdet.structures.bbox import distance2bbox
from torch import Tensor, nn

from ..align.plan import Level

Decode = Callable[[Any, Tensor, Tensor, int], Tensor]
FAMILIES: dict[type, Decode] = {}
LEVELS_ALIKE: set[Decode] = set()
_OUTPUTS = ('forward', 'forward_single', 'predict_by_feat', '_predict_by_feat_single')

BoxesAt = Callable[[Tensor, Tensor], Tensor]
"""(image (m,), location (m,)) to boxes (m, 4)."""
RawAt = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""(image (m,), location (m,)) to what the head predicts of the boxes (m, k), and priors (m, 2 or 4)."""


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

    def confidence(self) -> Tensor:
        """(B, n) best score of each location."""
        best = self.logits.amax(dim=2).float().sigmoid()
        return best if self.quality is None else best * self.quality.float().sigmoid()

    def scores(self) -> Tensor:
        """(B, n, C) probabilities, times quality where the head has it."""
        scores = self.logits.float().sigmoid()
        return scores if self.quality is None else scores * self.quality.float().sigmoid()[..., None]


class LazyResponse(LevelResponse):
    """A response whose boxes are made when they are asked for: decoding all of them costs more than the losses do.

    Args:
        boxes_at: see `BoxesAt`.
    """

    def __init__(
        self,
        logits: Tensor,
        quality: Tensor | None,
        distribution: Tensor | None,
        grid: tuple[int, int],
        boxes_at: BoxesAt,
        source: Tensor | None = None,
    ) -> None:
        self.logits, self.quality, self.distribution, self.grid = logits, quality, distribution, grid
        self.source = source
        self.whole: LevelResponse | None = None
        self.raw_at: RawAt | None = None
        self.decode: Callable[[Tensor, Tensor], Tensor] | None = None
        self._boxes_at = boxes_at

    def boxes_at(self, image: Tensor, location: Tensor) -> Tensor:
        return self._boxes_at(image, location)

    @cached_property
    def boxes(self) -> Tensor:  # type: ignore[override]
        batch, n = self.logits.shape[:2]
        image = torch.arange(batch, device=self.logits.device).repeat_interleave(n)
        location = torch.arange(n, device=self.logits.device).repeat(batch)
        return self._boxes_at(image, location).view(batch, n, 4)

    def split(self, counts: Sequence[int], grids: Sequence[tuple[int, int]]) -> list[LevelResponse]:
        """Cut into levels of so many locations each; `joined` finds the whole again."""
        levels: list[LevelResponse] = []
        start = 0
        for count, grid in zip(counts, grids, strict=True):
            own = slice(start, start + count)

            def at(image: Tensor, location: Tensor, start: int = start) -> Tensor:
                return self._boxes_at(image, location + start)

            quality = None if self.quality is None else self.quality[:, own]
            source = None if self.source is None else self.source[:, own]
            level = LazyResponse(self.logits[:, own], quality, None, grid, at, source)
            level.whole = self
            levels.append(level)
            start += count
        return levels


def joined(levels: Sequence[LevelResponse]) -> LevelResponse:
    """Levels as one response, their locations one after the other; without distributions."""
    whole: LevelResponse | None = getattr(levels[0], 'whole', None)
    counts = [level.logits.shape[1] for level in levels]
    same = all(getattr(level, 'whole', None) is whole for level in levels)
    if whole is not None and same and sum(counts) == whole.logits.shape[1]:
        return whole
    qualities = [level.quality for level in levels if level.quality is not None]

    alike = all(getattr(level, 'raw_at', None) is not None for level in levels)

    def at(image: Tensor, location: Tensor) -> Tensor:
        order, parts, start = [], [], 0
        for level, count in zip(levels, counts, strict=True):
            own = ((location >= start) & (location < start + count)).nonzero().flatten()
            if len(own):
                order.append(own)
                spots = (image[own], location[own] - start)
                parts.append(level.raw_at(*spots) if alike else (level.boxes_at(*spots).float(),))  # type: ignore[attr-defined]
            start += count
        if not parts:
            return levels[0].boxes_at(image, location)
        place = torch.cat(order).argsort()
        columns = [torch.cat(column)[place] for column in zip(*parts, strict=True)]
        return levels[0].decode(*columns) if alike else columns[0]  # type: ignore[attr-defined]

    return LazyResponse(
        torch.cat([level.logits for level in levels], dim=1),
        torch.cat(qualities, dim=1) if len(qualities) == len(levels) else None,
        None,
        (1, sum(counts)),
        at,
    )


@lru_cache(maxsize=64)
def level_priors(generator: Any, level: int, grid: tuple[int, int], device: torch.device) -> Tensor:
    """Priors of a level, (n, 2 or 4), kept: batches come in few sizes."""
    return generator.single_level_grid_priors(grid, level_idx=level, dtype=torch.float32, device=device)


def register_family(*head_types: type, levels_alike: bool = False) -> Callable[[Decode], Decode]:
    """Register `decode(head, bbox_pred (B, n, k), priors (n, 2 or 4), level) -> boxes (B, n, 4)` for head classes.

    Args:
        levels_alike: `decode` doesn't look at `level`, so locations of all levels are decoded in one call.
    """

    def register(decode: Decode) -> Decode:
        if levels_alike:
            LEVELS_ALIKE.add(decode)
        for head_type in head_types:
            FAMILIES[head_type] = decode
        return decode

    return register


def family_of(head: nn.Module | None) -> Decode | None:
    """The decode function of a head's nearest registered ancestor; None where the family is unknown.

    A head that overrides how outputs are made or read means something else by them, whatever it inherits from: VFNet's
    third output are refined boxes, and ATSS's a centerness. Such a head must be registered itself.
    """
    kind = type(head)
    for base in kind.__mro__:
        if base in FAMILIES:
            same = all(getattr(kind, name, None) is getattr(base, name, None) for name in _OUTPUTS)
            return FAMILIES[base] if same else None
    return None


@register_family(
    AnchorHead, RetinaHead, RetinaSepBNHead, RPNHead, ATSSHead, DDODHead, FSAFHead, PAAHead, PISASSDHead, SSDHead,
    YOLOFHead, levels_alike=True,
)  # fmt: skip
def decode_anchors(head: Any, bbox_pred: Tensor, priors: Tensor, level: int) -> Tensor:
    """Deltas to anchors, by the head's own bbox_coder."""
    if len(bbox_pred) == 1:  # mmdet decodes (n, 4) twice as fast as (B, n, 4)
        return head.bbox_coder.decode(priors, bbox_pred[0])[None]
    return head.bbox_coder.decode(priors.expand(len(bbox_pred), -1, -1), bbox_pred)


@register_family(FCOSHead, AutoAssignHead)
def decode_fcos(head: Any, bbox_pred: Tensor, priors: Tensor, level: int) -> Tensor:
    """Distances from points. In training, FCOS with `norm_on_bbox` predicts in strides; in eval, in pixels."""
    if head.norm_on_bbox and head.training:
        bbox_pred = bbox_pred * head.strides[level]
    return distance2bbox(priors.expand(len(bbox_pred), -1, -1), bbox_pred)


@register_family(RTMDetHead, RTMDetSepBNHead, levels_alike=True)
def decode_distances(head: Any, bbox_pred: Tensor, priors: Tensor, level: int) -> Tensor:
    """Distances in pixels from points."""
    return distance2bbox(priors.expand(len(bbox_pred), -1, -1), bbox_pred)


@register_family(GFLHead)
def decode_gfl(head: Any, bbox_pred: Tensor, priors: Tensor, level: int) -> Tensor:
    """Expected distances in strides from anchor centres."""
    centres = (priors[:, :2] + priors[:, 2:]) / 2
    distances = head.integral(bbox_pred).reshape(*bbox_pred.shape[:2], 4) * head.prior_generator.strides[level][0]
    return distance2bbox(centres.expand(len(bbox_pred), -1, -1), distances)


def head_levels(head: Any) -> tuple[Level, ...]:
    """Levels of a dense head, read from its prior generator and, for FCOS, its regression ranges."""
    generator = head.prior_generator
    base_anchors = getattr(generator, 'base_anchors', [None] * len(generator.strides))
    offset = getattr(generator, 'center_offset', getattr(generator, 'offset', 0.0))
    ranges = getattr(head, 'regress_ranges', [None] * len(generator.strides))
    levels = []
    for stride, anchors, size_range in zip(generator.strides, base_anchors, ranges, strict=True):
        sides = () if anchors is None else tuple((float(b[2] - b[0]), float(b[3] - b[1])) for b in anchors)
        levels.append(Level(float(stride[0]), sides, float(offset), _open_range(size_range)))
    return tuple(levels)


def _open_range(size_range: Sequence[float] | None) -> tuple[float, float] | None:
    """FCOS writes 'no limit' as -1 and 1e8, which would not survive a multiplication by the ratio."""
    if size_range is None:
        return None
    low, high = size_range
    return max(float(low), 0.0), float('inf') if high >= 1e7 else float(high)


def responses(head: Any, outputs: Sequence) -> list[LevelResponse]:
    """A head's raw outputs `(cls_scores, bbox_preds[, centernesses])` as responses, one per level.

    Args:
        head: a dense head with a registered family.
        outputs: what `head(feats)` returned; per level (B, A·C, h, w), (B, A·k, h, w), (B, A, h, w).
    """
    decode = family_of(head)
    if decode is None:
        raise TypeError(
            f'{type(head).__name__} has no head family: add one with @register_family, see docs/extending.md'
        )
    cls_scores, bbox_preds = outputs[:2]
    qualities = outputs[2] if len(outputs) > 2 else [None] * len(cls_scores)
    levels: list[LevelResponse] = []

    def decoded(bbox_pred: Tensor, priors: Tensor, level: int = 0) -> Tensor:
        return decode(head, bbox_pred.float()[None], priors, level)[0]

    for level, (cls_score, bbox_pred, quality) in enumerate(zip(cls_scores, bbox_preds, qualities, strict=True)):
        batch, _, height, width = cls_score.shape
        priors = level_priors(head.prior_generator, level, (height, width), cls_score.device)
        n = len(priors)
        bbox_pred = bbox_pred.permute(0, 2, 3, 1).reshape(batch, n, -1)

        def raw_at(
            image: Tensor, location: Tensor, bbox_pred: Tensor = bbox_pred, priors: Tensor = priors
        ) -> tuple[Tensor, Tensor]:
            return bbox_pred[image, location], priors[location]

        def boxes_at(image: Tensor, location: Tensor, raw_at: RawAt = raw_at, level: int = level) -> Tensor:
            return decoded(*raw_at(image, location), level)

        response = LazyResponse(
            logits=cls_score.permute(0, 2, 3, 1).reshape(batch, n, -1),
            quality=None if quality is None else quality.permute(0, 2, 3, 1).reshape(batch, n),
            distribution=bbox_pred.reshape(batch, n, 4, -1) if bbox_pred.shape[-1] > 4 else None,
            grid=(height, width),
            boxes_at=boxes_at,
        )
        if decode in LEVELS_ALIKE:
            response.raw_at, response.decode = raw_at, decoded
        levels.append(response)
    return levels
