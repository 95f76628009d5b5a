"""PDMetric: every AP of this project from one pass, in original pixels, with object sizes in HR pixels.

VOC AP (area and 11-point, IoU 0.5) is mmdet's own arithmetic; COCO-style AP is pycocotools'. Both see predictions and
ground truth in the pixels of the original image, whatever size the network saw: VOC's convention adds one pixel to each
side, so an AP computed on reduced boxes is a different number.
"""

import contextlib
import io
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mmdet.evaluation.functional import average_precision
from mmdet.evaluation.functional.mean_ap import tpfp_default
from mmdet.registry import METRICS
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from terminaltables import AsciiTable

from ..errors import ConfigError, DataError

# Object area in HR pixels, half-open [low, high).
SIZES = {'small': (0.0, 32.0**2), 'medium': (32.0**2, 96.0**2), 'large': (96.0**2, 1e10)}
MAX_DETECTIONS = 100


@METRICS.register_module()
class PDMetric(BaseMetric):
    """VOC and COCO-style AP as fractions 0..1, under the prefix `pd`.

    Keys: `AP` (IoU .50:.95), `coco_AP50`, `AP75`, `AP50` (VOC, area), `AP50_11` (VOC, 11-point), and per object size
    in HR pixels `AP_small` (< 32²), `AP_medium`, `AP_large` (≥ 96²) with the number of objects `gt_small` ….
    A size without objects has no AP key (its gt key is 0). Only the `MAX_DETECTIONS` most confident detections of an
    image and class count for the COCO-style AP, as in COCO. Difficult objects are matched by ordinary IoU and then
    ignored, with what they matched; pycocotools' own "crowd" would match by the share of the detection inside it,
    which is not VOC's rule.

    Each data sample needs `gt_instances`, `ignored_instances` and `pred_instances` with boxes in original pixels, and
    `hr_scale_factor` (w, h; original → HR pixels; set where the network's input is reduced) or else `scale_factor`.

    Args:
        outfile: a .json file for the metrics with AP per class (`per_class` is also an attribute after an evaluation).

    Raises:
        DataError: the split holds no object; a prediction is NaN or Inf.
        ConfigError: the head predicts a class that the data set does not have.
    """

    default_prefix = 'pd'

    def __init__(self, outfile: str | None = None, collect_device: str = 'cpu', prefix: str | None = None) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.outfile = outfile
        self.per_class: dict[str, dict[str, float]] = {}

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Keep boxes, labels, scores and the HR scale of each sample as NumPy arrays."""
        for sample in data_samples:
            truth, ignored, found = (sample[key] for key in ('gt_instances', 'ignored_instances', 'pred_instances'))
            result = {
                'boxes': _array(found['bboxes']).reshape(-1, 4),
                'scores': _array(found['scores']),
                'labels': _array(found['labels']),
                'gt_boxes': np.concatenate([_array(part['bboxes']).reshape(-1, 4) for part in (truth, ignored)]),
                'gt_labels': np.concatenate([_array(part['labels']) for part in (truth, ignored)]),
                'gt_ignore': np.repeat([False, True], [len(truth['labels']), len(ignored['labels'])]),
                'hr_scale': tuple(sample.get('hr_scale_factor', sample.get('scale_factor', (1.0, 1.0)))),
            }
            if not (np.isfinite(result['boxes']).all() and np.isfinite(result['scores']).all()):
                raise DataError(
                    f'predictions of image {sample.get("img_id")} contain NaN or Inf; the training diverged'
                )
            self.results.append(result)

    def compute_metrics(self, results: list[dict]) -> dict[str, float]:
        """All metrics; fills `per_class` and writes `outfile`."""
        classes = list(self.dataset_meta['classes'])
        highest = max((int(r['labels'].max()) for r in results if len(r['labels'])), default=-1)
        if highest >= len(classes):
            raise ConfigError(
                f'a detection has class index {highest}, but the data set has {len(classes)} classes {classes}: '
                'set num_classes of the head (model.bbox_head.num_classes) to that number'
            )
        counts = np.array(
            [sum(((r['gt_labels'] == c) & ~r['gt_ignore']).sum() for r in results) for c in range(len(classes))]
        )
        if not counts.any():
            raise DataError('the evaluated split holds no object to find; no AP can be computed')
        voc = voc_ap(results, len(classes))
        coco, coco_per_class = coco_ap(results, len(classes))
        self.per_class = {
            name: {'gt': int(counts[c]), **{key: float(values[c]) for key, values in {**voc, **coco_per_class}.items()}}
            for c, name in enumerate(classes)
            if counts[c]
        }
        metrics = {'AP': coco.pop('AP'), **{key: float(np.nanmean(values)) for key, values in voc.items()}, **coco}
        self._report(metrics)
        return metrics

    def _report(self, metrics: dict[str, float]) -> None:
        logger = MMLogger.get_current_instance()
        header = ['class', 'gt', 'AP', 'AP50', 'AP50_11']
        rows = [
            [name, values['gt'], *(f'{values[key]:.3f}' for key in header[2:])]
            for name, values in self.per_class.items()
        ]
        logger.info('\n' + AsciiTable([header, *rows]).table)
        absent = [size for size in SIZES if f'AP_{size}' not in metrics]
        if absent:
            logger.info(f'no object of size {", ".join(absent)} (HR pixels) in this split: no AP for it')
        if self.outfile is not None:
            path = Path(self.outfile)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps({'metrics': metrics, 'per_class': self.per_class}, indent=2))


def _array(values) -> np.ndarray:
    """A tensor, mmdet box object or array as a NumPy array."""
    return np.asarray(values.cpu().numpy() if hasattr(values, 'cpu') else values)


def voc_ap(results: list[dict], num_classes: int) -> dict[str, np.ndarray]:
    """VOC AP at IoU 0.5 per class, NaN where a class has no object: `AP50` (area) and `AP50_11` (11-point).

    mmdet's matching and AP functions, in VOC's legacy coordinates (width = x2 − x1 + 1) as its VOCMetric has them; its
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
        hit_count = np.cumsum(np.concatenate(hits)[order]) if scores else np.zeros(0)
        miss_count = np.cumsum(np.concatenate(misses)[order]) if scores else np.zeros(0)
        precision = hit_count / np.maximum(hit_count + miss_count, np.finfo(np.float32).eps)
        for key, mode in (('AP50', 'area'), ('AP50_11', '11points')):
            aps[key][c] = average_precision(hit_count / num_gt, precision, mode)
    return aps


class _DifficultCOCOeval(COCOeval):
    """pycocotools forgets every ignore flag but its own "crowd"; this one keeps the flag `difficult`."""

    def _prepare(self) -> None:
        super()._prepare()
        for annotations in self._gts.values():
            for annotation in annotations:
                annotation['ignore'] = annotation['difficult']


def coco_ap(results: list[dict], num_classes: int) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """COCO-style AP of the set (`AP`, `coco_AP50`, `AP75`, `AP_<size>`, `gt_<size>`), and `AP` per class.

    A class without an object has NaN. Areas (of objects and of detections) are in HR pixels, boxes in original pixels.
    """
    truth, found = _coco_annotations(results)
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = _DifficultCOCOeval(
            _coco(truth, len(results), num_classes), _coco(found, len(results), num_classes), 'bbox'
        )
        evaluation.params.maxDets = [MAX_DETECTIONS]
        # pycocotools takes both ends as inside: step just below the upper one.
        evaluation.params.areaRng = [[0, 1e10], *([low, np.nextafter(high, 0)] for low, high in SIZES.values())]
        evaluation.params.areaRngLbl = ['all', *SIZES]
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval['precision'][..., 0]  # IoU thresholds × recalls × classes × sizes; −1: no object
    precision = np.where(precision < 0, np.nan, precision)
    metrics = {
        'AP': float(np.nanmean(precision[..., 0])),
        'coco_AP50': float(np.nanmean(precision[0, :, :, 0])),
        'AP75': float(np.nanmean(precision[5, :, :, 0])),
    }
    for index, (size, (low, high)) in enumerate(SIZES.items(), start=1):
        if not np.isnan(precision[..., index]).all():
            metrics[f'AP_{size}'] = float(np.nanmean(precision[..., index]))
        metrics[f'gt_{size}'] = float(sum(not gt['difficult'] and low <= gt['area'] < high for gt in truth))
    absent = np.isnan(precision[..., 0]).all(axis=(0, 1))
    per_class = np.where(absent, np.nan, np.nan_to_num(precision[..., 0]).mean(axis=(0, 1)))
    return metrics, {'AP': per_class}


def _coco_annotations(results: list[dict]) -> tuple[list[dict], list[dict]]:
    """Ground truth and detections as COCO annotations; ids start at 1 (0 would read as "no match")."""
    truth: list[dict] = []
    found: list[dict] = []
    for image_id, r in enumerate(results):
        hr_area = float(r['hr_scale'][0]) * float(r['hr_scale'][1])
        for box, label, difficult in zip(_xywh(r['gt_boxes']), r['gt_labels'], r['gt_ignore'], strict=True):
            shared = {'id': len(truth) + 1, 'image_id': image_id, 'category_id': int(label), 'bbox': box}
            truth.append(dict(shared, area=box[2] * box[3] * hr_area, iscrowd=0, difficult=int(difficult)))
        for box, label, score in zip(_xywh(r['boxes']), r['labels'], r['scores'], strict=True):
            shared = {'id': len(found) + 1, 'image_id': image_id, 'category_id': int(label), 'bbox': box}
            found.append(dict(shared, area=box[2] * box[3] * hr_area, score=float(score)))
    return truth, found


def _xywh(boxes: np.ndarray) -> list[list[float]]:
    return np.column_stack([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]]).astype(np.float64).tolist()


def _coco(annotations: list[dict], num_images: int, num_classes: int) -> COCO:
    coco = COCO()
    coco.dataset = {
        'images': [{'id': i} for i in range(num_images)],
        'categories': [{'id': c} for c in range(num_classes)],
        'annotations': annotations,
    }
    coco.createIndex()
    return coco
