"""Preflight, part 3: one step of a stage on real images, loss by loss, and whether each reaches the student."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .finding import Finding, LossRow, error, warning


def loss_rows(model: Any, batches: Sequence[dict], patient: bool = True) -> tuple[list[LossRow], list[str]]:
    """One training step, loss by loss; nothing is updated.

    Args:
        model: a Distiller with a loaded guide, or a plain detector, in train mode.
        batches: of the stage's training pipeline. The second and later ones are looked at only where a loss was zero
            on those before; a row shows the first batch on which it was not.
        patient: False: the guide is not trained, and what it is not sure of on one batch it is not on the next, so a
            term that is zero on the first batch is left at that.

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
        if all(row.gradient or (row.term and not patient) for row in rows.values()):
            break
    return list(rows.values()), unreached


def input_sizes(model: Any, batch: dict) -> dict[str, tuple[int, int]]:
    """(h, w) of a batch as the networks get it: 'student' (the trained network), and 'guide' where there is one."""
    return {who: (images.shape[-2], images.shape[-1]) for who, images in images_of(model, batch).items()}


def images_of(model: Any, batch: dict) -> dict[str, Tensor]:
    """Images of a batch as the networks get them: 'student' (the trained network), and 'guide' where there is one."""
    inputs = model.data_preprocessor(batch, True)['inputs']
    return dict(student=inputs['lr'], guide=inputs['hr']) if isinstance(inputs, dict) else dict(student=inputs)


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
