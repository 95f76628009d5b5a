"""What the guide still knows through an alignment: its AP through the plan over its AP without one (DESIGN §3.2).

Both APs come from the guide's raw responses through one and the same post-processing; only the alignment differs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from mmcv.ops import batched_nms
from torch import Tensor

from ..errors import ConfigError
from ..evaluation.metric import PDMetric
from ..heads.base import LevelResponse, responses

if TYPE_CHECKING:
    from ..distill.distiller import Distiller

SCORE_THRESHOLD = 0.05
IOU_THRESHOLD = 0.5
MAX_PER_LEVEL = 1000
MAX_PER_IMAGE = 100


@dataclass(frozen=True)
class GuideAP:
    """AP and AP50 of the guide by itself (`identity`) and as its student hears it (`through`), fractions 0..1."""

    identity: dict[str, float]
    through: dict[str, float]

    def kept(self, key: str = 'AP') -> float:
        """Share of the guide's AP that arrives."""
        return self.through[key] / self.identity[key] if self.identity[key] else float('nan')


def detections(levels: Iterable[LevelResponse], image: int) -> dict[str, Tensor]:
    """Boxes of one image: score threshold, best MAX_PER_LEVEL of a level, NMS per class, best MAX_PER_IMAGE.

    Returns:
        bboxes (m, 4) in the pixels of the responses, scores (m,), labels (m,).
    """
    boxes, scores, labels = [], [], []
    for level in levels:
        level_scores = level.scores()[image]
        location, label = (level_scores > SCORE_THRESHOLD).nonzero(as_tuple=True)
        kept = level_scores[location, label]
        kept, order = kept.sort(descending=True, stable=True)
        order = order[:MAX_PER_LEVEL]
        boxes.append(level.boxes[image, location[order]])
        scores.append(kept[:MAX_PER_LEVEL])
        labels.append(label[order])
    all_boxes, all_scores, all_labels = torch.cat(boxes).float(), torch.cat(scores), torch.cat(labels)
    if len(all_boxes):
        nms = dict(type='nms', iou_threshold=IOU_THRESHOLD)
        _, index = batched_nms(all_boxes, all_scores, all_labels, nms)
        index = index[:MAX_PER_IMAGE]
        all_boxes, all_scores, all_labels = all_boxes[index], all_scores[index], all_labels[index]
    return dict(bboxes=all_boxes, scores=all_scores, labels=all_labels)


@torch.no_grad()
def guide_ap(distiller: Distiller, loader: Iterable[dict], classes: tuple[str, ...]) -> GuideAP:
    """Measure a guide with and without the alignment of its student.

    An RPN scores "object or not"; its AP is that of one class.

    Args:
        distiller: with the guide's weights loaded; the student's weights do not matter.
        loader: batches of pairs whose samples keep their ground truth in original pixels (see `pair_loader`).
        classes: class names of the data.

    Raises:
        ConfigError: no response of this pair can be compared.
    """
    problem = distiller.alignment.response_problem()
    if problem:
        raise ConfigError(f'--guide-ap: {problem}, so there are no responses whose AP could be measured')
    distiller.eval()
    head: Any = distiller.guide_view.head
    one_class = head.cls_out_channels == 1 and len(classes) > 1
    metrics = {name: PDMetric() for name in ('identity', 'through')}
    for metric in metrics.values():
        metric.dataset_meta = dict(classes=('object',) if one_class else classes)
    for batch in loader:
        data = distiller.data_preprocessor(batch, False)
        taps = distiller.guide_view.run(data['inputs']['hr'])
        raw = responses(head, taps['head'])
        feats_lr = distiller.student_view.feature_maps(
            distiller.student_view.run(data['inputs']['lr'], with_head=False)['features']
        )
        grids = [(feat.shape[-2], feat.shape[-1]) for feat in feats_lr]
        aligned = [item.response for item in distiller.alignment.responses(raw, grids)]
        for name, levels in (('identity', raw), ('through', aligned)):
            metrics[name].process({}, [_result(s, levels, i, one_class) for i, s in enumerate(data['data_samples'])])
    found = {name: metric.evaluate(len(metric.results)) for name, metric in metrics.items()}
    return GuideAP(*({key: values[f'pd/{key}'] for key in ('AP', 'AP50')} for values in found.values()))


def _result(sample, levels: list[LevelResponse], image: int, one_class: bool) -> dict:
    """One data sample for PDMetric, boxes in original pixels."""
    result = sample.to_dict()
    found = detections(levels, image)
    factor = found['bboxes'].new_tensor(result['hr_scale_factor']).repeat(2)
    height, width = result['ori_shape']
    boxes = found['bboxes'] / factor
    boxes[:, 0::2] = boxes[:, 0::2].clamp(0, width)
    boxes[:, 1::2] = boxes[:, 1::2].clamp(0, height)
    result['pred_instances'] = {**found, 'bboxes': boxes}
    if one_class:
        for key in ('gt_instances', 'ignored_instances'):
            result[key] = {**result[key], 'labels': torch.zeros_like(result[key]['labels'])}
    return result
