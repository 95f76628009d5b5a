"""Curves and pictures of a training for TensorBoard, through mmengine's own backend."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import mmcv
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import get_box_tensor
from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

PICTURES = 4
"""Images of the validation set that are drawn."""
SCORE = 0.3
"""Least confidence of a drawn box."""


def add_tensorboard(config: Config) -> Hook:
    """Let the visualizer of a stage's config write for TensorBoard, too. The hook brings what mmengine does not log."""
    kind = 'DetLocalVisualizer' if config.get('default_scope') == 'mmdet' else 'Visualizer'
    visualizer = dict(config.get('visualizer') or dict(type=kind))
    backends = list(visualizer.get('vis_backends') or [dict(type='LocalVisBackend')])
    if not any(str(backend['type']).endswith('TensorboardVisBackend') for backend in backends):
        backends.append(dict(type='TensorboardVisBackend'))
    config.visualizer = dict(visualizer, vis_backends=backends)
    return TensorboardHook()


class TensorboardHook(Hook):
    """Every learning rate (mmengine logs the first parameter group's alone), and what is found in the first images of
    the validation set, with the objects that are there."""

    priority = 'LOW'

    def after_train_iter(self, runner: Runner, batch_idx: int, *args: Any, **kwargs: Any) -> None:
        interval = runner.cfg.get('default_hooks', {}).get('logger', {}).get('interval', 10)
        if not is_main_process() or not self.every_n_inner_iters(batch_idx, interval):
            return
        groups = runner.optim_wrapper.param_groups
        rates = {f'lr/initially_{group.get("initial_lr", group["lr"]):g}': group['lr'] for group in groups}
        if len(rates) > 1:
            runner.visualizer.add_scalars(rates, step=runner.iter + 1)

    def after_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: Sequence[Any] | None = None
    ) -> None:
        if not is_main_process():
            return
        first = batch_idx * len(outputs or ())
        for index, sample in enumerate((outputs or ())[: max(0, PICTURES - first)], first):
            if 'pred_instances' in sample and hasattr(runner.visualizer, 'add_datasample'):
                image = mmcv.imread(sample.img_path, channel_order='rgb')
                shown = within_image(sample, getattr(runner.visualizer, 'line_width', 0))
                runner.visualizer.add_datasample(
                    f'val/{index}', image, shown, draw_gt=True, pred_score_thr=SCORE, step=runner.epoch
                )


def within_image(sample: DetDataSample, line: float) -> DetDataSample:
    """A copy whose boxes, in pixels of the image file, end at its last pixel, with room for the label at their corner.

    A box that ends at the image's edge is outside for mmengine's drawing, which then warns of each.

    Args:
        line: width of the drawn line, pixels.
    """
    shown = copy.deepcopy(sample)
    height, width = shown.ori_shape[:2]
    for key in ('gt_instances', 'pred_instances'):
        if key in shown and 'bboxes' in shown.get(key):
            boxes = get_box_tensor(shown.get(key).bboxes)
            for first, side in ((0, width), (1, height)):
                boxes[:, first].clamp_(0, max(0, side - 1 - line))
                boxes[:, first + 2].clamp_(0, side - 1)
    return shown
