"""Stop on the first NaN or Inf in a loss term, before it reaches a checkpoint (ours)."""

import math
from typing import Any

import torch
from mmdet.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.runner import Runner


@HOOKS.register_module()
class FiniteLossHook(Hook):
    """After each train iteration: every logged term must be finite.

    Loss values only: with AMP a few non-finite gradients are normal (the scaler skips that step). Runs before EMAHook
    and the checkpoint hook. Not rationed: mmengine's RuntimeInfoHook already copies each term to the CPU each time.

    Raises:
        RuntimeError: with the terms, the iteration and the images.
    """

    priority = 'HIGH'

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        """`outputs`: name → number or tensor, as `parse_losses` logs them (`loss` is their sum)."""
        values = {
            name: float(torch.as_tensor(value).detach().float().mean()) for name, value in (outputs or {}).items()
        }
        bad = {name: value for name, value in values.items() if not math.isfinite(value)}
        if not bad:
            return
        terms = ', '.join(f'{name}={value}' for name, value in bad.items() if name != 'loss' or len(bad) == 1)
        fine = ', '.join(f'{name}={value:.4g}' for name, value in values.items() if name not in bad)
        raise RuntimeError(
            f'{terms} in iteration {runner.iter + 1} (epoch {runner.epoch + 1}) on images {image_names(data_batch)}; '
            f'finite: {fine or "none"}. No checkpoint was written: the last one is good. Usual causes: the learning '
            'rate (lower it, or lengthen the warm-up), no clip_grad, fp16 overflow (use bf16), or those boxes.'
        )


def image_names(data_batch: Any) -> list[str]:
    """`img_id (img_path)` of each sample of a collated batch; [] where the batch has no data samples."""
    samples = data_batch.get('data_samples') if isinstance(data_batch, dict) else None
    names = []
    for sample in samples or ():
        info = getattr(sample, 'metainfo', {})
        names.append(f'{info.get("img_id", "?")} ({info.get("img_path", "?")})')
    return names
