"""ChannelsLastHook: weights, and with them all maps, in channels-last order."""

from __future__ import annotations

import torch
from mmdet.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner


@HOOKS.register_module()
class ChannelsLastHook(Hook):
    """Train in `torch.channels_last`: the same numbers up to rounding, in the order that mobile backbones on a CPU and
    tensor cores like. The guide goes with its student. `stages.X.runner.custom_hooks=[dict(type='ChannelsLastHook')]`.
    """

    def before_train(self, runner: Runner) -> None:
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        model.to(memory_format=torch.channels_last)
