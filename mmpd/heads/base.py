"""What AFP needs to know of a dense head: its levels, and its raw outputs as scores and boxes.

A head family is one function, `decode`: how the head's box predictions become boxes. Everything else (levels, priors,
layout) is read from mmdet's own `prior_generator`. Add a family with `@register_family(HeadClass)`.

Legend: B = batch, A = priors per cell, C = classes, n = h·w·A in the order (h, w, A).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
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
from ..errors import ConfigError
from .response import BoxesAt, LazyResponse, LevelResponse, Rows, level_by_level

Decode = Callable[[Any, Tensor, Tensor, int], Tensor]
FAMILIES: dict[type, Decode] = {}
LEVELS_ALIKE: set[Decode] = set()
_OUTPUTS = ('forward', 'forward_single', 'predict_by_feat', '_predict_by_feat_single')


@lru_cache(maxsize=64)
def level_priors(generator: Any, level: int, grid: tuple[int, int], device: torch.device) -> Tensor:
    """Priors of a level, (n, 2 or 4), kept: batches come in few sizes."""
    return generator.single_level_grid_priors(grid, level_idx=level, dtype=torch.float32, device=device)


@lru_cache(maxsize=64)
def all_priors(generator: Any, grids: tuple[tuple[int, int], ...], device: torch.device) -> Tensor:
    """`level_priors` of all levels, one after the other."""
    return torch.cat([level_priors(generator, level, grid, device) for level, grid in enumerate(grids)])


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
    """Levels of a dense head, read from its prior generator and, for FCOS, its regression ranges.

    Raises:
        ConfigError: not as many ranges as strides.
    """
    generator = head.prior_generator
    base_anchors = getattr(generator, 'base_anchors', [None] * len(generator.strides))
    offset = getattr(generator, 'center_offset', getattr(generator, 'offset', 0.0))
    ranges = [None] * len(generator.strides)
    if hasattr(head, 'regress_ranges') and not isinstance(head, AutoAssignHead):  # it inherits five, and uses none
        ranges = head.regress_ranges
    if len(ranges) != len(generator.strides):
        raise ConfigError(
            f'{type(head).__name__} has {len(generator.strides)} strides and {len(ranges)} regress_ranges (five by '
            "default): give one for each level in the head's overrides"
        )
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
    generator, device = head.prior_generator, cls_scores[0].device
    grids = tuple((score.shape[-2], score.shape[-1]) for score in cls_scores)
    priors = [level_priors(generator, level, grid, device) for level, grid in enumerate(grids)]
    counts = [len(own) for own in priors]
    deltas = Rows(bbox_preds, counts)
    quality = Rows(outputs[2], counts).best if len(outputs) > 2 else None

    def boxes_of(level: int) -> BoxesAt:
        own, start = priors[level], sum(counts[:level])

        def at(image: Tensor, location: Tensor) -> Tensor:
            return decode(head, deltas.at(image, location + start).float()[None], own[location], level)[0]

        return at

    def alike_at(image: Tensor, location: Tensor) -> Tensor:
        return decode(
            head, deltas.at(image, location).float()[None], all_priors(generator, grids, device)[location], 0
        )[0]

    at = (
        alike_at if decode in LEVELS_ALIKE else level_by_level([boxes_of(level) for level in range(len(grids))], counts)
    )
    whole = LazyResponse(Rows(cls_scores, counts), quality, None, (1, sum(counts)), at)
    levels = whole.split(counts, grids)
    if deltas.shape[2] > 4:
        for level in levels:
            level.distribution = deltas.all[:, level.start : level.start + level.count].unflatten(2, (4, -1))
    return list(levels)
