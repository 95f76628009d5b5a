"""Preflight: what the heads make of a batch: the guide's confidence, a DETR's queries, the boxes that AFP decodes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from torch import nn

from ..distill.view import view_of
from ..errors import ConfigError
from ..heads.base import family_of, responses
from .finding import Finding, error
from .step import images_of


@torch.no_grad()
def guide_confidence(model: Any, batches: Sequence[dict]) -> float:
    """The guide's best score on the batches, 0..1; 1 where its dense head is unknown, and where there is no guide.

    A two-stage guide is as sure as the less sure of its heads: an RPN learns sooner than a RoI head.
    """
    view: Any = getattr(model, 'guide_view', None)
    if view is None or family_of(view.head) is None:
        return 1.0
    dense, rois = 0.0, 0.0
    two_stage = getattr(view.net, 'roi_head', None) is not None
    for batch in batches:
        images = images_of(model, batch)['guide']
        dense = max(dense, *(float(level.scores().max()) for level in responses(view.head, view.run(images)['head'])))
        if two_stage:
            samples = [DetDataSample(metainfo=dict(img_shape=images.shape[-2:])) for _ in images]
            found = [one.pred_instances.scores for one in view.net.predict(images, samples, rescale=False)]
            rois = max(rois, *(float(scores.max()) if len(scores) else 0.0 for scores in found))
    return min(dense, rois) if two_stage else dense


@torch.no_grad()
def verify_queries(model: Any, batch: dict, name: str) -> None:
    """A two-stage DETR takes its queries from the cells of its feature maps, so it needs at least as many.

    Raises:
        ConfigError: where it has more queries than the batch has cells per image.
    """
    net = getattr(model, 'student', model)
    if not getattr(net, 'as_two_stage', False):
        return
    images = images_of(model, batch)['student']
    view = view_of(net)
    feats = view.feature_maps(view.run(images, with_head=False)['features'])
    grids = [tuple(level.shape[-2:]) for level in feats]
    cells = sum(h * w for h, w in grids)
    if net.num_queries > cells:
        raise ConfigError(
            f'stages.{name}.overrides.num_queries = {net.num_queries}, but images of {images.shape[-2]}×'
            f'{images.shape[-1]} pixels have {cells} feature cells ({" + ".join(f"{h}×{w}" for h, w in grids)}) to '
            'take them from: lower it in every stage, or raise data.hr_scale'
        )


@torch.no_grad()
def verify_batch(model: Any, batch: dict, name: str) -> None:
    """A TridentNet trains on three maps an image, and no guide has a partner for each.

    Raises:
        ConfigError: where a student gives more or fewer maps than it gets images.
    """
    view = getattr(model, 'student_view', None)
    if view is None:
        return
    images = images_of(model, batch)['student']
    feats = view.feature_maps(view.run(images, with_head=False)['features'])
    if len(feats) and len(feats[0]) != len(images):
        raise ConfigError(
            f'stages.{name}.detector: {type(model.student).__name__} gives {len(feats[0])} feature maps of '
            f'{len(images)} images in training, so nothing of a guide lines up with them; use it as a guide alone'
        )


def _padded(net: Any, size: tuple[int, int]) -> tuple[int, int]:
    """An image size as batches of this network have it: necks such as NAS-FPN take multiples of 128 alone."""
    divisor = getattr(net.data_preprocessor, 'pad_size_divisor', 1)
    height, width = (-(-side // divisor) * divisor for side in size)
    return height, width


@torch.no_grad()
def decode_finding(
    net: nn.Module, name: str, size: tuple[int, int] = (64, 96), tolerance: float = 0.5
) -> Finding | None:
    """Compare the boxes that AFP decodes with those of the head's own `predict_by_feat`, on a dummy image.

    A head that inherits from a known one but means something else by its outputs would be distilled to wrong boxes.

    Args:
        size: (h, w) of the dummy, where the network is not made for one. tolerance: pixels.

    Returns:
        None where they agree, and where the head says nothing before its NMS (PAA: its votes move the boxes).
    """
    view = view_of(net)
    head: Any = view.head
    side = view.probe_side
    size = (side, side) if side else _padded(net, size)
    if head is None or not hasattr(head, 'predict_by_feat'):
        return None
    was_training = net.training
    net.eval()
    try:
        image = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(0)).to(next(net.parameters()))
        outputs = view.run(image)['head']
        ours = torch.cat([level.boxes[0] for level in responses(head, outputs)])
        config = {**(head.test_cfg or {}), 'nms_pre': -1, 'score_thr': -1.0, 'min_bbox_size': -1}
        meta = dict(img_shape=size, ori_shape=size, scale_factor=(1.0, 1.0))
        found: InstanceData = head.predict_by_feat(
            *outputs, batch_img_metas=[meta], cfg=type(head.test_cfg)(config), rescale=False, with_nms=False
        )[0]
    except AssertionError as refusal:
        if 'with_nms' in str(refusal):
            return None
        raise
    finally:
        net.train(was_training)
    ours = ours.float().nan_to_num(1e6, 1e6, -1e6)
    ends = [ours.new_tensor([size[1] - last, size[0] - last]).repeat(2) for last in (0, 1)]
    # most heads clip their boxes to the image, YOLOX does not, those of mmdet 1.x to its last pixel
    ours = torch.cat([ours, *(ours.minimum(end).clamp(min=0) for end in ends)])
    theirs = found.bboxes[:: max(len(found.bboxes) // 50, 1)]
    theirs = theirs[theirs.isfinite().all(dim=1)].float()
    if not len(theirs):
        return None
    gap = torch.cdist(theirs, ours, p=float('inf')).amin(dim=1).amax()
    if gap <= tolerance:
        return None
    return error(
        f'stages.{name}.detector',
        f'the boxes that AFP decodes for {type(head).__name__} are up to '
        f"{gap:.0f} pixels from the head's own; register its decode function with @register_family, see "
        'docs/extending.md',
    )
