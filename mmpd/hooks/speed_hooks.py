"""Hooks that make a step faster and change no more than its rounding."""

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


@HOOKS.register_module()
class CompileGuideHook(Hook):
    """`torch.compile` for the frozen guide: `stages.X.runner.custom_hooks=[dict(type='CompileGuideHook')]`.

    The first steps, and each image size up to the second, take a compilation of a minute or so; with a guide cache the
    guide seldom runs, so there it does not pay. It needs a C++ compiler on a CPU.

    Raises:
        ConfigError: a guide whose features are read inside of its backbone.
    """

    def before_train(self, runner: Runner) -> None:
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        model.guide_view.compile()
