"""Accuracy of a classifier: top-1, top-5, and the mean over classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mmdet.registry import METRICS
from mmengine.evaluator import BaseMetric


@METRICS.register_module()
class PDAccuracy(BaseMetric):
    """`pd/top1`, `pd/top5` (where there are more than 5 classes) and `pd/mean_class`, as fractions 0..1.

    `mean_class` is the mean of the classes' own top-1: where one class has a third of the images, top-1 is mostly that
    class. Equal scores rank in class order, so a network that scores everything alike is not taken for a perfect one;
    NaN ranks before all, so neither is one that has diverged.

    Attributes:
        choices: metrics by which a checkpoint can be chosen.
        per_class: class name → dict(top1, images), after `compute_metrics`.
    """

    default_prefix = 'pd'
    choices = ('top1', 'top5', 'mean_class')

    def __init__(self, collect_device: str = 'cpu', prefix: str | None = None) -> None:
        super().__init__(collect_device, prefix)
        self.per_class: dict[str, dict[str, float]] = {}

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Keep (label, rank of the label among the scores, number of classes) of each sample."""
        for sample in data_samples:
            scores, label = sample['pred_score'], int(sample['gt_label'])
            rank = int((~(scores <= scores[label])).sum() + (scores[:label] == scores[label]).sum())
            self.results.append((label, rank, len(scores)))

    def compute_metrics(self, results: list[tuple[int, int, int]]) -> dict[str, float]:
        hits: dict[int, list[bool]] = {}
        for label, rank, _ in results:
            hits.setdefault(label, []).append(rank == 0)
        names = (self.dataset_meta or {}).get('classes')
        self.per_class = {
            str(names[label] if names else label): dict(top1=sum(hit) / len(hit), images=float(len(hit)))
            for label, hit in sorted(hits.items())
        }
        metrics = dict(top1=sum(rank == 0 for _, rank, _ in results) / len(results))
        if results[0][2] > 5:
            metrics['top5'] = sum(rank < 5 for _, rank, _ in results) / len(results)
        metrics['mean_class'] = sum(entry['top1'] for entry in self.per_class.values()) / len(self.per_class)
        return metrics
