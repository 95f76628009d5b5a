"""PDMetric: every AP of this project from one pass, in original pixels, with object sizes in HR pixels.

VOC AP (area and 11-point, IoU 0.5) is mmdet's own matching; COCO-style AP is pycocotools'. Both see predictions and
ground truth in the pixels of the original image, whatever size the network saw: VOC's convention adds one pixel to each
side, so an AP computed on reduced boxes is a different number.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mmdet.registry import METRICS
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger
from terminaltables import AsciiTable

from ..errors import ConfigError, DataError
from .coco_ap import SIZES, coco_ap
from .voc_ap import voc_ap

APS = ('AP', 'AP50', 'AP50_11', 'AP75', 'coco_AP50', *(f'AP_{size}' for size in SIZES))
"""Metrics of `PDMetric` by which a checkpoint can be chosen; a size that the split does not hold has none."""


@METRICS.register_module()
class PDMetric(BaseMetric):
    """VOC and COCO-style AP as fractions 0..1, under the prefix `pd`.

    Keys: `AP` (IoU .50:.95), `coco_AP50`, `AP75`, `AP50` (VOC, area), `AP50_11` (VOC, 11-point), and per object size
    in HR pixels `AP_small` (< 32²), `AP_medium`, `AP_large` (≥ 96²) with the number of objects `gt_small` ….
    A size without objects has no AP key (its gt key is 0). Only the `MAX_DETECTIONS` most confident detections of an
    image and class count for the COCO-style AP, as in COCO. Difficult objects are matched by ordinary IoU and then
    ignored, with all that matched them, however many; pycocotools' own "crowd" would match by the share of the
    detection inside it, which is not VOC's rule.

    Each data sample needs `gt_instances`, `ignored_instances` and `pred_instances` with boxes in original pixels, and
    `hr_scale_factor` (w, h; original → HR pixels; set where the network's input is reduced) or else `scale_factor`.

    Args:
        outfile: a .json file for the metrics with AP per class (`per_class` is also an attribute after an evaluation).
        ignored: what `ignored_instances` are: 'difficult' objects of VOC, or 'crowd' regions of COCO, which match by
            the share of the detection inside as pycocotools has it (in the COCO-style AP; the VOC AP knows no crowds).
            None: what `metainfo.ignored` of the data set says, else 'difficult'.
        groups: the attribute `without` gets AP without one of so many groups of images after the other, which tells how
            much of a difference is due to the choice of images (`mmpd.ablate.verdict`).

    Raises:
        DataError: the split holds no object; a prediction is NaN or Inf.
        ConfigError: the head predicts a class that the data set does not have.
    """

    default_prefix = 'pd'
    choices = APS

    def __init__(
        self,
        outfile: str | None = None,
        ignored: str | None = None,
        groups: int = 0,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        if ignored not in (None, 'difficult', 'crowd'):
            raise ConfigError(f"PDMetric.ignored = {ignored!r}: use 'difficult' (VOC) or 'crowd' (COCO)")
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.ignored = ignored
        self.outfile = outfile
        self.groups = groups
        self.per_class: dict[str, dict[str, float]] = {}
        self.without: list[float] = []

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
        """All metrics; fills `per_class` and `without`, and writes `outfile`."""
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
        ignored = self.ignored or self.dataset_meta.get('ignored', 'difficult')
        ignored = ignored if isinstance(ignored, str) else ignored[0]  # mmengine takes a bare string for a file's name
        coco, coco_per_class, self.without = coco_ap(results, len(classes), ignored, self.groups)
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
