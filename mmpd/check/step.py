"""Preflight, part 3: one step of a stage on real images, loss by loss, and whether each reaches the student."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from mmdet.structures import DetDataSample
from mmengine.structures import InstanceData
from torch import Tensor, nn

from ..distill.view import view_of
from ..errors import ConfigError
from ..heads.base import family_of, responses
from .config import Finding, error, warning


@dataclass(frozen=True)
class LossRow:
    """One named loss of the first step. `term` is the config key of the term, '' for the student's own losses.
    `gradient` is the norm of its gradient at the student's parameters."""

    name: str
    term: str
    value: float
    gradient: float


def loss_rows(model: Any, batches: Sequence[dict]) -> tuple[list[LossRow], list[str]]:
    """One training step, loss by loss; nothing is updated.

    Args:
        model: a Distiller with a loaded guide, or a plain detector, in train mode.
        batches: of the stage's training pipeline. The second and later ones are looked at only where a loss was zero
            on those before; a row shows the first batch on which it was not.

    Returns:
        Rows, and the trainable parameters that no loss reaches.
    """
    student = getattr(model, 'student', model)
    rows: dict[str, LossRow] = {}
    unreached: list[str] = []
    for batch in batches:
        data = model.data_preprocessor(batch, True)
        model.zero_grad()
        losses, owners = _named_losses(model, data)
        for name, loss in losses.items():
            if name not in rows or not rows[name].gradient:
                rows[name] = LossRow(name, owners.get(name, ''), float(loss.detach()), _gradient_norm(loss, student))
        if not unreached and len(rows) == len(losses):
            unreached = _unreached(model, losses)
        if all(row.gradient for row in rows.values()):
            break
    return list(rows.values()), unreached


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
        images = _images(model, batch)['guide']
        dense = max(dense, *(float(level.scores().max()) for level in responses(view.head, view.run(images)['head'])))
        if two_stage:
            samples = [DetDataSample(metainfo=dict(img_shape=images.shape[-2:])) for _ in images]
            found = [one.pred_instances.scores for one in view.net.predict(images, samples, rescale=False)]
            rois = max(rois, *(float(scores.max()) if len(scores) else 0.0 for scores in found))
    return min(dense, rois) if two_stage else dense


def input_sizes(model: Any, batch: dict) -> dict[str, tuple[int, int]]:
    """(h, w) of a batch as the networks get it: 'student' (the trained network), and 'guide' where there is one."""
    return {who: (images.shape[-2], images.shape[-1]) for who, images in _images(model, batch).items()}


def _images(model: Any, batch: dict) -> dict[str, Tensor]:
    """Images of a batch as the networks get them: 'student' (the trained network), and 'guide' where there is one."""
    inputs = model.data_preprocessor(batch, True)['inputs']
    return dict(student=inputs['lr'], guide=inputs['hr']) if isinstance(inputs, dict) else dict(student=inputs)


@torch.no_grad()
def verify_queries(model: Any, batch: dict, name: str) -> None:
    """A two-stage DETR takes its queries from the cells of its feature maps, so it needs at least as many.

    Raises:
        ConfigError: where it has more queries than the batch has cells per image.
    """
    net = getattr(model, 'student', model)
    if not getattr(net, 'as_two_stage', False):
        return
    images = _images(model, batch)['student']
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


def _named_losses(model: Any, data: dict) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Losses summed over their levels, and loss → config key of the term that returned it."""
    owners: dict[str, str] = {}
    handles = []
    for key, term in getattr(model, 'terms', {}).items():

        def note(module: nn.Module, inputs: Any, output: dict, key: str = key) -> None:
            owners.update(dict.fromkeys(output, key))

        handles.append(term.register_forward_hook(note))
    try:
        outputs = model(**data, mode='loss')
    finally:
        for handle in handles:
            handle.remove()
    losses = {}
    for name, value in outputs.items():
        if 'loss' in name:  # as mmengine sums them; others are only logged
            parts = value if isinstance(value, (list, tuple)) else [value]
            losses[name] = torch.stack([part.mean() for part in parts]).sum()
    return losses, owners


def _gradient_norm(loss: Tensor, student: nn.Module) -> float:
    parameters = [p for p in student.parameters() if p.requires_grad]
    if not loss.requires_grad:
        return 0.0
    grads = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
    squares = [grad.float().square().sum() for grad in grads if grad is not None]
    return float(torch.stack(squares).sum().sqrt()) if squares else 0.0


def _unreached(model: nn.Module, losses: dict[str, Tensor]) -> list[str]:
    names, parameters = zip(*((n, p) for n, p in model.named_parameters() if p.requires_grad), strict=True)
    grads = torch.autograd.grad(sum(losses.values()), parameters, retain_graph=True, allow_unused=True)  # type: ignore[arg-type]
    return [name for name, grad in zip(names, grads, strict=True) if grad is None]


def loss_findings(
    rows: Sequence[LossRow], unreached: Sequence[str], name: str, sure: bool, own_weight: float = 1.0
) -> list[Finding]:
    """What is wrong with the losses of stage `name`.

    Args:
        sure: the guide is trained and sure of something. Before that, a term that waits for confident guide scores is
            zero, and that is no error yet.
        own_weight: what the terms leave of the network's own losses; 0: it learns from its guide alone.
    """
    findings = []
    for row in rows:
        key = f'stages.{name}.terms.{row.term}' if row.term else f'stages.{name}.detector'
        if not torch.isfinite(torch.tensor([row.value, row.gradient])).all():
            findings.append(
                error(
                    key,
                    f'{row.name} = {row.value}, gradient {row.gradient}: not finite in the '
                    'first step; check loss_weight and the data',
                )
            )
        elif row.term and not row.gradient:
            why = (
                f'lower its threshold, check frozen_stages, or remove it (terms.{row.term} = None)'
                if sure
                else 'normal while the guide, not trained (enough) yet, is sure of nothing'
            )
            text = f'{row.name} = {row.value:.3g}, no gradient reaches the student on any of the images tried; {why}'
            findings.append(Finding(sure, key, text))
    if own_weight and rows and all(not row.gradient for row in rows if not row.term):
        findings.append(
            error(
                f'stages.{name}.detector',
                'no loss of the network itself has a gradient: it would '
                'not learn; check num_classes, the anchors and the data',
            )
        )
    if unreached:
        shown = ', '.join(unreached[:3]) + (', …' if len(unreached) > 3 else '')
        findings.append(
            warning(
                f'stages.{name}.overrides',
                f'{len(unreached)} parameters are in no loss ({shown}): a DDP run stops on them; leave the layers out',
            )
        )
    return findings


@torch.no_grad()
def decode_finding(
    net: nn.Module, name: str, size: tuple[int, int] = (64, 96), tolerance: float = 0.5
) -> Finding | None:
    """Compare the boxes that AFP decodes with those of the head's own `predict_by_feat`, on a dummy image.

    A head that inherits from a known one but means something else by its outputs would be distilled to wrong boxes.

    Args:
        size: (h, w) of the dummy. tolerance: pixels.
    """
    head: Any = view_of(net).head
    if head is None or not hasattr(head, 'predict_by_feat'):
        return None
    was_training = net.training
    net.eval()
    try:
        image = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(0)).to(next(net.parameters()))
        outputs = view_of(net).run(image)['head']
        ours = torch.cat([level.boxes[0] for level in responses(head, outputs)])
        config = {**(head.test_cfg or {}), 'nms_pre': -1, 'score_thr': -1.0, 'min_bbox_size': -1}
        meta = dict(img_shape=size, ori_shape=size, scale_factor=(1.0, 1.0))
        found: InstanceData = head.predict_by_feat(
            *outputs, batch_img_metas=[meta], cfg=type(head.test_cfg)(config), rescale=False, with_nms=False
        )[0]
    finally:
        net.train(was_training)
    ours = ours.float().nan_to_num(1e6, 1e6, -1e6)
    clipped = ours.minimum(ours.new_tensor([size[1], size[0]]).repeat(2)).clamp(min=0)
    ours = torch.cat([ours, clipped])  # most heads clip their boxes to the image, YOLOX does not
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
