"""COCO-style AP by pycocotools, with sizes in HR pixels and VOC's difficult objects."""

from __future__ import annotations

import contextlib
import copy
import io

import numpy as np
from pycocotools import mask as mask_utils
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

# Object area in HR pixels, half-open [low, high).
SIZES = {'small': (0.0, 32.0**2), 'medium': (32.0**2, 96.0**2), 'large': (96.0**2, 1e10)}
MAX_DETECTIONS = 100


class _DifficultCOCOeval(COCOeval):
    """Difficult objects as COCO's crowds, which any number of detections may match, but matched by ordinary IoU.

    pycocotools reads `iscrowd` twice: in matching it lifts the limit of one detection and ignores what matched, which
    is VOC's rule for a difficult object; in the overlap it counts the share of the detection inside, which is not.
    """

    def computeIoU(self, imgId: int, catId: int) -> np.ndarray | list:
        """IoU of the most confident detections with the objects, in the order of `evaluateImg`."""
        truths, found = self._gts[imgId, catId], self._dts[imgId, catId]
        if not truths or not found:
            return []
        order = np.argsort([-annotation['score'] for annotation in found], kind='mergesort')
        boxes = [found[index]['bbox'] for index in order[: self.params.maxDets[-1]]]
        return mask_utils.iou(boxes, [truth['bbox'] for truth in truths], [0] * len(truths))


def coco_ap(
    results: list[dict], num_classes: int, ignored: str = 'difficult', groups: int = 0
) -> tuple[dict[str, float], dict[str, np.ndarray], list[float]]:
    """COCO-style AP of the set (`AP`, `coco_AP50`, `AP75`, `AP_<size>`, `gt_<size>`), `AP` per class, and the set's AP
    without one group of images after the other (image i is in group i mod `groups`; a set of fewer images has none).

    Args:
        ignored: what the objects with `gt_ignore` are: VOC's 'difficult' (matched by IoU), or COCO's 'crowd' (matched
            by the share of the detection inside).

    A class without an object has NaN. Areas (of objects and of detections) are in HR pixels, boxes in original pixels.
    """
    truth, found = _coco_annotations(results)
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = (COCOeval if ignored == 'crowd' else _DifficultCOCOeval)(
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
        metrics[f'gt_{size}'] = float(sum(not gt['iscrowd'] and low <= gt['area'] < high for gt in truth))
    absent = np.isnan(precision[..., 0]).all(axis=(0, 1))
    per_class = np.where(absent, np.nan, np.nan_to_num(precision[..., 0]).mean(axis=(0, 1)))
    without = [_ap_without(evaluation, group, groups) for group in range(groups)] if len(results) >= groups else []
    return metrics, {'AP': per_class}, without


def _ap_without(evaluation: COCOeval, group: int, groups: int) -> float:
    """AP of the images that are not in the group; nothing is matched again."""
    params = copy.copy(evaluation.params)
    params.areaRng, params.areaRngLbl = params.areaRng[:1], params.areaRngLbl[:1]
    kept = copy.copy(evaluation)
    kept.evalImgs = [  # class × size × image; what is None is left out
        None if index % len(params.imgIds) % groups == group else one for index, one in enumerate(evaluation.evalImgs)
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        kept.accumulate(params)
    precision = kept.eval['precision'][..., 0]
    return float(np.nanmean(np.where(precision < 0, np.nan, precision)))


def _coco_annotations(results: list[dict]) -> tuple[list[dict], list[dict]]:
    """Ground truth and detections as COCO annotations; ids start at 1 (0 would read as "no match")."""
    truth: list[dict] = []
    found: list[dict] = []
    for image_id, r in enumerate(results):
        hr_area = float(r['hr_scale'][0]) * float(r['hr_scale'][1])
        for box, label, difficult in zip(_xywh(r['gt_boxes']), r['gt_labels'], r['gt_ignore'], strict=True):
            shared = {'id': len(truth) + 1, 'image_id': image_id, 'category_id': int(label), 'bbox': box}
            truth.append(dict(shared, area=box[2] * box[3] * hr_area, iscrowd=int(difficult)))
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
