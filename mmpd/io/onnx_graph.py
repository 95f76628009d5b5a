"""A detector as one function of images, as it is exported: preprocessing, network, decoding and NMS in one graph.

The post-processing is mmdet's own rule (threshold, best `nms_pre` of each level, classwise NMS, `max_per_img`) written
with fixed numbers of candidates, so that it holds for a batch: an empty place has the score -1.

Legend: B = batch, H × W = padded image, K = `nms_pre` or `max_per_img`, M = candidates, C = classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
import torchvision
from mmdet.models.dense_heads import GFLHead
from mmdet.models.dense_heads.base_dense_head import BaseDenseHead
from mmdet.models.dense_heads.rpn_head import RPNHead
from mmdet.models.detectors import SingleStageDetector, TwoStageDetector
from mmdet.models.roi_heads import StandardRoIHead
from mmdet.models.roi_heads.bbox_heads.bbox_head import BBoxHead
from mmdet.models.roi_heads.roi_extractors import SingleRoIExtractor
from torch import Tensor, nn

from ..errors import ConfigError
from ..heads.base import family_of

_RULES = ('predict_by_feat', '_predict_by_feat_single', '_bbox_post_process')  # what the graph writes anew


class DetectorGraph(nn.Module):
    """images (B, H, W, 3) uint8 RGB, sizes (B, 2) int64 → boxes (B, K, 4), scores (B, K), labels (B, K) int64.

    `sizes` are (height, width) of each image inside the batch; what lies right of it and below is not looked at. Boxes
    are x1, y1, x2, y2 in pixels of `images`, best first; a place without a detection has the score -1 and label -1.

    Args:
        detector: a plain detector with its weights.

    Raises:
        ConfigError: it has a part that the graph does not know; says which.
    """

    def __init__(self, detector: Any) -> None:
        super().__init__()
        check_exportable(detector)
        self.detector = detector
        self.two_stage = isinstance(detector, TwoStageDetector)
        self.eval()  # all of it: the exporter puts a module that is not in eval back into training, BN included

    def forward(self, images: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        detector = self.detector
        feats = detector.extract_feat(normalise(detector.data_preprocessor, images, sizes))
        if self.two_stage:
            rpn = detector.rpn_head
            proposals = suppress(dense_candidates(rpn, rpn(feats), detector.test_cfg.rpn, sizes), detector.test_cfg.rpn)
            cfg = detector.test_cfg.rcnn
            found = suppress(roi_candidates(detector.roi_head, feats, proposals, cfg.score_thr, sizes), cfg)
        else:
            head = detector.bbox_head
            found = suppress(dense_candidates(head, head(feats), detector.test_cfg, sizes), detector.test_cfg)
        return found.boxes, found.scores, found.groups


@dataclass
class Candidates:
    """boxes (B, M, 4), scores (B, M), -1 where there is none, groups (B, M): NMS acts within a group (a class)."""

    boxes: Tensor
    scores: Tensor
    groups: Tensor


def normalise(preprocessor: Any, images: Tensor, sizes: Tensor) -> Tensor:
    """(B, H, W, 3) uint8 RGB to (B, 3, H', W') as mmdet's preprocessor: its channel order, mean and std, and padding
    outside each image and up to multiples of `pad_size_divisor`, with its value."""
    x = images.permute(0, 3, 1, 2).float()
    if not preprocessor._channel_conversion:  # mmdet reads BGR; a network without conversion was trained on it
        x = x.flip(1)
    if preprocessor._enable_normalize:
        x = (x - preprocessor.mean) / preprocessor.std
    height, width = images.shape[1], images.shape[2]
    rows = torch.arange(height, device=images.device)[None] < sizes[:, :1]
    columns = torch.arange(width, device=images.device)[None] < sizes[:, 1:]
    inside = rows[:, None, :, None] & columns[:, None, None, :]
    value = float(preprocessor.pad_value)
    x = torch.where(inside, x, torch.full((), value, device=x.device))
    divisor = preprocessor.pad_size_divisor
    return x if divisor == 1 else F.pad(x, (0, -width % divisor, 0, -height % divisor), value=value)


def dense_candidates(head: Any, outputs: Sequence, cfg: Any, sizes: Tensor) -> Candidates:
    """The best `nms_pre` (prior, class) pairs of each level above the threshold; an RPN's groups are its levels."""
    qualities = outputs[2] if len(outputs) > 2 else [None] * len(outputs[0])
    is_rpn = isinstance(head, RPNHead)
    threshold = -1.0 if is_rpn else float(cfg.get('score_thr', 0))
    levels = [
        _level_candidates(head, level, raw, int(cfg.nms_pre), threshold, is_rpn)
        for level, raw in enumerate(zip(*outputs[:2], qualities, strict=True))
    ]
    boxes = torch.cat([level.boxes for level in levels], 1)
    if head.bbox_coder.clip_border:
        boxes = _clip(boxes, sizes)
    return Candidates(
        boxes, torch.cat([level.scores for level in levels], 1), torch.cat([level.groups for level in levels], 1)
    )


def _level_candidates(
    head: Any, level: int, raw: tuple[Tensor, Tensor, Tensor | None], count: int, threshold: float, is_rpn: bool
) -> Candidates:
    cls_score, bbox_pred, quality = raw
    batch, _, height, width = cls_score.shape
    num_classes = head.num_classes
    logits = cls_score.permute(0, 2, 3, 1).reshape(batch, -1, head.cls_out_channels)
    scores = logits.sigmoid() if head.use_sigmoid_cls else logits.softmax(-1)[..., :-1]
    scores = torch.where(scores > threshold, scores, -torch.ones_like(scores)).flatten(1)
    scores, index = _best(scores, count)
    prior = index // num_classes
    priors = head.prior_generator.single_level_grid_priors(
        (height, width), level_idx=level, dtype=torch.float32, device=cls_score.device
    )
    per_prior = bbox_pred.shape[1] // head.num_base_priors
    bbox_pred = bbox_pred.permute(0, 2, 3, 1).reshape(batch, -1, per_prior)
    bbox_pred = bbox_pred.gather(1, prior[..., None].expand(-1, -1, per_prior))
    # One long row: the decoders take the batch's length as a number, which a graph must not hold.
    decode = family_of(head)
    assert decode is not None
    boxes = decode(head, bbox_pred.reshape(1, -1, per_prior), priors[prior.flatten()], level)
    if quality is not None:
        quality = quality.permute(0, 2, 3, 1).reshape(batch, -1).sigmoid().gather(1, prior)
        scores = torch.where(scores > 0, scores * quality, scores)
    groups = torch.full_like(index, level) if is_rpn else index % num_classes
    return Candidates(boxes.reshape(batch, -1, 4), scores, groups)


def _best(scores: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The `count` highest of (B, n), best first, and their places; -1 at place 0 where there are fewer."""
    padded = torch.cat([scores, -torch.ones_like(scores[:, :1]).expand(-1, count)], 1)
    best, index = padded.topk(count, dim=1)
    return best, torch.where(best > 0, index, torch.zeros_like(index))


def _clip(boxes: Tensor, sizes: Tensor) -> Tensor:
    """Boxes (B, M, 4) inside their image of `sizes` (B, 2) as (height, width)."""
    limit = sizes.flip(1).to(boxes.dtype).repeat(1, 2)[:, None]
    return torch.minimum(boxes.clamp(min=0), limit)


def suppress(found: Candidates, cfg: Any) -> Candidates:
    """Greedy NMS within each group, then the `max_per_img` best of an image."""
    sides = found.boxes[..., 2:] - found.boxes[..., :2]
    scores = torch.where((sides > 0).all(-1), found.scores, -torch.ones_like(found.scores))
    boxes = found.boxes
    if not cfg.nms.get('class_agnostic', False):  # groups far apart, by the step that mmcv takes, rounding included
        valid = (scores > 0)[..., None]
        step = torch.where(valid, boxes, torch.zeros_like(boxes)).flatten(1).max(1).values + 1
        boxes = boxes + (found.groups * step[:, None])[..., None]
    limit = int(cfg.max_per_img)
    kept = _NMS.apply(boxes, scores, float(cfg.nms.iou_threshold), limit)
    scores, index = _best(torch.where(kept > 0, scores, -torch.ones_like(scores)), limit)
    groups = torch.where(scores > 0, found.groups.gather(1, index), -torch.ones_like(index))
    return Candidates(found.boxes.gather(1, index[..., None].expand(-1, -1, 4)), scores, groups)


class _NMS(torch.autograd.Function):
    """(B, M) float: 1 where a candidate with a score above 0 is kept, at most `limit` of an image."""

    @staticmethod
    def forward(ctx: Any, boxes: Tensor, scores: Tensor, iou_threshold: float, limit: int) -> Tensor:
        kept = torch.zeros_like(scores)
        for b in range(len(scores)):
            valid = (scores[b] > 0).nonzero().squeeze(1)
            kept[b, valid[torchvision.ops.nms(boxes[b, valid], scores[b, valid], iou_threshold)[:limit]]] = 1
        return kept

    @staticmethod
    def symbolic(g: Any, boxes: Any, scores: Any, iou_threshold: float, limit: int) -> Any:
        def constant(value: Any, dtype: torch.dtype) -> Any:
            return g.op('Constant', value_t=torch.tensor(value, dtype=dtype))

        one = constant([1], torch.int64)
        selected = g.op(  # (n, 3): image, 0, place
            'NonMaxSuppression',
            boxes,
            g.op('Unsqueeze', scores, one),
            constant([limit], torch.int64),
            constant([iou_threshold], torch.float32),
            constant([0.0], torch.float32),
        )
        places = g.op('Gather', selected, constant([0, 2], torch.int64), axis_i=1)
        ones = g.op(
            'ConstantOfShape',
            g.op('Gather', g.op('Shape', places), constant([0], torch.int64), axis_i=0),
            value_t=torch.ones(1),
        )
        nothing = g.op('ConstantOfShape', g.op('Shape', scores), value_t=torch.zeros(1))
        kept = g.op('ScatterND', nothing, places, ones)
        kept.setType(scores.type())
        return kept


def roi_candidates(roi_head: Any, feats: Sequence[Tensor], proposals: Candidates, threshold: float, sizes: Tensor):
    """Every (proposal, class) pair above the threshold."""
    batch, count = proposals.scores.shape
    owner = torch.arange(batch, device=proposals.boxes.device, dtype=torch.float32)[:, None].expand(-1, count)
    rois = torch.cat([owner.reshape(-1, 1), proposals.boxes.reshape(-1, 4)], 1)
    pooled = _pool(roi_head.bbox_roi_extractor, feats, rois)
    if roi_head.with_shared_head:
        pooled = roi_head.shared_head(pooled)
    head = roi_head.bbox_head
    cls_score, bbox_pred = head(pooled)
    num_classes = head.num_classes
    scores = cls_score.softmax(-1)[:, :-1].reshape(batch, -1, num_classes)
    real = (proposals.scores > 0)[..., None] & (scores > threshold)
    scores = torch.where(real, scores, -torch.ones_like(scores))
    boxes_per_roi = 1 if head.reg_class_agnostic else num_classes
    priors = rois[:, None, 1:].expand(-1, boxes_per_roi, -1).reshape(1, -1, 4)
    boxes = head.bbox_coder.decode(priors, bbox_pred.reshape(1, -1, 4))
    boxes = boxes.reshape(batch, -1, boxes_per_roi, 4).expand(-1, -1, num_classes, -1).reshape(batch, -1, 4)
    if head.bbox_coder.clip_border:
        boxes = _clip(boxes, sizes)
    groups = torch.arange(num_classes, device=scores.device).expand(batch, count, -1)
    return Candidates(boxes, scores.flatten(1), groups.reshape(batch, -1))


def _pool(extractor: Any, feats: Sequence[Tensor], rois: Tensor) -> Tensor:
    """(R, channels, h, w): each region from the level that fits its size, as `SingleRoIExtractor`."""
    feats = feats[: extractor.num_inputs]
    level_of = extractor.map_roi_levels(rois, len(feats))
    layers = extractor.roi_layers
    pooled = rois.new_zeros(rois.shape[0], extractor.out_channels, *layers[0].output_size)
    for level, (feat, layer) in enumerate(zip(feats, layers, strict=True)):
        index = (level_of == level).nonzero().squeeze(1)
        part = torchvision.ops.roi_align(
            feat, rois[index], layer.output_size, layer.spatial_scale, layer.sampling_ratio, layer.aligned
        )
        pooled = pooled.index_put((index,), part)
    return pooled


def check_exportable(detector: Any) -> None:
    """Whether the graph's rules are those of this detector.

    Raises:
        ConfigError: which part is not known, and what works.
    """
    if isinstance(detector, TwoStageDetector):
        reasons = [*_dense_reasons(detector.rpn_head, detector.test_cfg.rpn, (RPNHead,)), *_roi_reasons(detector)]
    elif isinstance(detector, SingleStageDetector):
        reasons = _dense_reasons(detector.bbox_head, detector.test_cfg, (BaseDenseHead, GFLHead))
    else:
        reasons = [f'{type(detector).__name__} is neither a single-stage nor a two-stage detector of mmdet']
    if reasons:
        raise ConfigError(
            'this detector cannot be exported: ' + '; '.join(reasons) + '. Known are RetinaNet, FCOS, ATSS, GFL, '
            'RTMDet, Faster R-CNN, and heads that keep their post-processing'
        )


def _dense_reasons(head: Any, cfg: Any, rules_of: tuple[type, ...]) -> list[str]:
    name = type(head).__name__
    if family_of(head) is None or not isinstance(head, BaseDenseHead):
        return [f'{name} has no known way from its outputs to boxes']
    reasons = []
    for rule in _RULES:
        if all(getattr(type(head), rule) is not getattr(base, rule) for base in rules_of):
            reasons.append(f'{name} has a post-processing of its own ({rule})')
    if getattr(head.loss_cls, 'custom_cls_channels', False):
        reasons.append(f'{type(head.loss_cls).__name__} has an activation of its own')
    if int(cfg.get('nms_pre', -1)) <= 0:
        reasons.append(f'test_cfg.nms_pre = {cfg.get("nms_pre")} is no limit: set a number such as 1000')
    return reasons + _nms_reasons(cfg)


def _roi_reasons(detector: Any) -> list[str]:
    roi_head = detector.roi_head
    if type(roi_head) is not StandardRoIHead:
        return [f'{type(roi_head).__name__} is no StandardRoIHead']
    head, extractor, cfg = roi_head.bbox_head, roi_head.bbox_roi_extractor, detector.test_cfg.rcnn
    reasons = _nms_reasons(cfg)
    if roi_head.with_mask:
        reasons.append('it predicts masks')
    if type(extractor) is not SingleRoIExtractor:
        reasons.append(f'{type(extractor).__name__} is no SingleRoIExtractor')
    elif any(layer.pool_mode != 'avg' for layer in extractor.roi_layers):
        reasons.append('its RoI layers are no RoIAlign with averages')
    if type(head)._predict_by_feat_single is not BBoxHead._predict_by_feat_single or head.custom_cls_channels:
        reasons.append(f'{type(head).__name__} has a post-processing of its own')
    return reasons


def _nms_reasons(cfg: Any) -> list[str]:
    nms = cfg.get('nms') or {}
    reasons = []
    if nms.get('type', 'nms') != 'nms' or 'iou_threshold' not in nms:
        reasons.append(f'test_cfg.nms = {dict(nms)} is not plain NMS with an iou_threshold')
    if cfg.get('min_bbox_size', 0) > 0:
        reasons.append(f'test_cfg.min_bbox_size = {cfg.min_bbox_size}: only 0 is known')
    return reasons
