"""Preflight, part 2: the data of a stage, and which object sizes its pyramids fit.

Sizes are sides of a square of the same area, in HR pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from mmdet.registry import DATASETS
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate

from ..align.plan import Level
from ..chain.datasets import innermost
from ..data.seeding import sample_rng
from ..errors import ConfigError
from ..hooks.seed_hook import unwrap
from .finding import Finding, error, warning

if TYPE_CHECKING:
    from ..chain.stage import Stage

Interval = tuple[float, float]
MAX_READ = 20000


@dataclass
class TrainData:
    """A training set as the preflight sees it.

    Attributes:
        dataset: as the training builds it.
        reports: one line per data set: images, boxes, what was dropped and why.
        sides: (n, 2) widths and heights of the boxes in HR pixels; None for data that is no detection data.
        unseen: class names without a box; [] where not every image was read.
    """

    dataset: Any
    reports: list[str]
    sides: np.ndarray | None
    unseen: Sequence[str] = ()

    @property
    def sizes(self) -> np.ndarray:
        return np.sqrt(self.sides.prod(axis=1)) if self.sides is not None else np.zeros(0)

    def share(self, interval: Interval) -> float:
        """Share of the boxes with a size in [low, high)."""
        sizes = self.sizes
        return float(((sizes >= interval[0]) & (sizes < interval[1])).mean()) if len(sizes) else 0.0

    def tiny(self, hr_pixels: float) -> int:
        """Boxes with a side below so many HR pixels."""
        return 0 if self.sides is None else int((self.sides.min(axis=1) < hr_pixels).sum())


def read_train_data(config: Config, hr_scale: Sequence[int] | None) -> TrainData:
    """Build the training set of a stage and measure its boxes.

    Args:
        hr_scale: (width, height) that HR images are resized into, keeping their shape.

    Raises:
        DataError: as the data set does.
    """
    dataset = DATASETS.build(config.train_dataloader.dataset)
    reports = [part.report.summary() for part in unwrap(dataset) if 'report' in vars(part)]
    reports = reports or [f'{type(dataset).__name__}: {len(dataset)} images']
    if not hasattr(dataset, 'get_data_info') or hr_scale is None:
        return TrainData(dataset, reports, None)
    sides, labels = [], set()
    for index in range(min(len(dataset), MAX_READ)):
        info = dataset.get_data_info(index)
        if 'instances' not in info or 'width' not in info:
            return TrainData(dataset, reports, None)
        size = (info['width'], info['height'])
        factor = min(max(hr_scale) / max(size), min(hr_scale) / min(size))
        for instance in info['instances']:
            x1, y1, x2, y2 = instance['bbox']
            sides.append(((x2 - x1) * factor, (y2 - y1) * factor))
            labels.add(instance['bbox_label'])
    names = dataset.metainfo.get('classes', ()) if len(dataset) <= MAX_READ else ()
    unseen = [name for label, name in enumerate(names) if label not in labels]
    return TrainData(dataset, reports, np.array(sides).reshape(-1, 2), unseen)


def class_findings(stage: Stage, data: TrainData) -> list[Finding]:
    """Class names that would train on nothing, or be measured as others."""
    findings = []
    if data.sides is not None and not len(data.sides):
        findings.append(
            error(
                'data.train.metainfo.classes',
                f'none of the {len(data.dataset)} training images has a box of {_names(stage, "train")}: give the '
                'names as they are in the annotations',
            )
        )
    elif data.unseen:
        findings.append(
            warning(
                'data.train.metainfo.classes',
                f'no training image has a box of {list(data.unseen)}: check the spelling against the annotations',
            )
        )
    trained = _names(stage, 'train')
    for split in ('val', 'test'):
        measured = _names(stage, split)
        if trained and measured and trained != measured:
            findings.append(
                error(
                    f'data.{split}.metainfo.classes',
                    f'{measured} are not those of data.train, {trained}, in that order: labels would mean others',
                )
            )
    return findings


def _names(stage: Stage, split: str) -> tuple[str, ...] | None:
    """Class names of a split; None where it is not there or they can't be told."""
    try:
        return stage.task.classes(stage, split) if stage.data.get(split) else None
    except ConfigError:
        return None


def real_batches(data: TrainData, config: Config, n_batches: int, batch_size: int = 2) -> list[dict]:
    """Batches of the training images with the most objects, through the stage's own training pipeline."""
    dataset = data.dataset
    if not hasattr(dataset, 'get_data_info'):
        indices: Sequence[int] = range(min(len(dataset), n_batches * batch_size))
        samples = [dataset[index] for index in indices]
    else:
        known = range(min(len(dataset), 500))
        counts = [len(dataset.get_data_info(index).get('instances', ())) for index in known]
        indices = sorted(known, key=lambda index: -counts[index])[: n_batches * batch_size]
        pipeline = Compose(innermost(config.train_dataloader.dataset).pipeline)
        samples = []
        for index in indices:
            with sample_rng(0, 0, index):
                samples.append(pipeline(dataset.get_data_info(index)))
    return [pseudo_collate(samples[start : start + batch_size]) for start in range(0, len(samples), batch_size)]


def fitting_sizes(level: Level) -> Interval:
    """Object sizes that a level fits, in the pixels of `level`.

    Anchors: from the smallest / √2 to the largest · √2, where an object in place still has IoU 0.5. Points with a
    regression range (FCOS): up to twice the range, which is the largest distance from a point to a side. Points
    without: half to twice the typical size. A guide for reading, not a limit: assigners also give poor matches away.
    """
    if level.anchors:
        sides = [(w * h) ** 0.5 for w, h in level.anchors]
        return min(sides) / 2**0.5, max(sides) * 2**0.5
    if level.size_range:
        return max(level.size_range[0], level.stride), 2 * level.size_range[1]
    return level.size / 2, level.size * 2


def union(intervals: Sequence[Interval]) -> list[Interval]:
    """Disjoint intervals that cover the same numbers, ascending."""
    merged: list[Interval] = []
    for low, high in sorted(intervals):
        if merged and low <= merged[-1][1] * 1.0001:
            merged[-1] = (merged[-1][0], max(merged[-1][1], high))
        else:
            merged.append((low, high))
    return merged


def uncovered(guide: Sequence[Interval], student: Sequence[Interval]) -> list[Interval]:
    """What the guide's levels fit and no student level does."""
    gaps = union(guide)
    for low, high in union(student):
        rest = []
        for a, b in gaps:
            rest += [piece for piece in ((a, min(b, low)), (max(a, high), b)) if piece[0] < piece[1] * 0.9999]
        gaps = rest
    return gaps
