"""AP as PASCAL VOC defines it."""

from __future__ import annotations

import numpy as np
from mmdet.evaluation.functional import average_precision
from mmdet.evaluation.functional.mean_ap import tpfp_default


def voc_ap(results: list[dict], num_classes: int) -> dict[str, np.ndarray]:
    """VOC AP at IoU 0.5 per class, NaN where a class has no object: `AP50` (area) and `AP50_11` (11-point).

    mmdet's matching and area function, in VOC's legacy coordinates (width = x2 − x1 + 1) as its VOCMetric has them; its
    `eval_map` forks a process pool at every call and would match everything once for each of the two curves.
    """
    aps = {'AP50': np.full(num_classes, np.nan), 'AP50_11': np.full(num_classes, np.nan)}
    for c in range(num_classes):
        scores, hits, misses, num_gt = [], [], [], 0
        for r in results:
            of_class, found = r['gt_labels'] == c, r['labels'] == c
            wanted = r['gt_boxes'][of_class & ~r['gt_ignore']]
            num_gt += len(wanted)
            if found.any():
                detections = np.column_stack([r['boxes'][found], r['scores'][found]])
                difficult = r['gt_boxes'][of_class & r['gt_ignore']]
                hit, miss = tpfp_default(detections, wanted, difficult, 0.5, None, use_legacy_coordinate=True)
                scores.append(detections[:, 4])
                hits.append(hit[0])
                misses.append(miss[0])
        if num_gt == 0:
            continue
        order = np.argsort(-np.concatenate(scores), kind='stable') if scores else np.zeros(0, int)
        hit_count = np.cumsum(np.concatenate(hits)[order], dtype=np.float64) if scores else np.zeros(0)
        miss_count = np.cumsum(np.concatenate(misses)[order], dtype=np.float64) if scores else np.zeros(0)
        precision = hit_count / np.maximum(hit_count + miss_count, np.finfo(np.float32).eps)
        recall = hit_count / num_gt
        aps['AP50'][c] = average_precision(recall, precision, 'area')
        aps['AP50_11'][c] = eleven_point_ap(recall, precision)
    return aps


def eleven_point_ap(recall: np.ndarray, precision: np.ndarray) -> float:
    """Mean over the recalls 0, .1 … 1 of the best precision at that recall or a higher one (VOC 2007), 0..1.

    The recalls are k/10, rounded once: `np.arange(0, 1.001, .1)`, as mmdet and VOC's own code have it, puts .3, .6 and
    .7 a rounding error too high, so 3 hits of 10 would not reach recall .3; and a float32 recall of 9/10 is below .9.

    Args:
        recall, precision: (n,) float64, after each detection in falling order of confidence.
    """
    return float(np.mean([precision[recall >= tenth / 10].max(initial=0.0) for tenth in range(11)]))
