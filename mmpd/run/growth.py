"""How the cost of a step grows with the images and the data: nothing of the distillation may outgrow the networks."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData
from torch import Tensor

from ..chain.chain import read_chain
from ..chain.datasets import leaves
from ..chain.stage import Stage
from ..chain.stage_config import stage_config
from ..check.preflight import build_stage, quiet
from ..errors import ConfigError
from .bench import BenchOptions, prepared, step_parts
from .stopwatch import interleaved


@dataclass(frozen=True)
class Setting:
    """One batch: side of the square HR images in pixels, images, classes of the data, objects of each image."""

    side: int = 320
    batch: int = 2
    classes: int = 20
    objects: int = 8


AXES = dict(
    side=(160, 320, 640, 1280),
    batch=(1, 4, 16),
    classes=(3, 20, 80, 365),
    objects=(1, 8, 30, 100),
)
STARTS = dict(side=Setting(batch=1), batch=Setting(side=160))
"""Axis → what its settings have in common, where it is not `Setting()`: 16 images of 320 pixels would take minutes."""
SURE = 0.02
"""Share of the guide's locations that are made sure of an object (score over .2): untrained, it is sure of none."""


def measure_growth(
    stage: Stage,
    options: BenchOptions,
    axes: Mapping[str, tuple[int, ...]] = AXES,
    starts: Mapping[str, Setting] = STARTS,
) -> dict[str, Any]:
    """Seconds an image of the two networks together and of the distillation step, along each axis.

    Images are noise, boxes are drawn, weights are random: the time depends on what is seen only by the number of
    locations of which the guide is sure, and that is set to SURE.

    Raises:
        ConfigError: a stage without guide, or of a task whose classes are not the data's.
    """
    if not stage.guide:
        raise ConfigError(f'stages.{stage.name} has no guide, so it has no distillation step to measure')
    torch.set_num_threads(options.threads)
    rows = []
    for axis, values in axes.items():
        for value in values:
            setting = replace(starts.get(axis, Setting()), **{axis: value})
            model = prepared(_model(stage, setting.classes), options)
            parts = step_parts(model, _batch(model, setting, options), options)
            chosen = {name: parts[name] for name in ('two-model step', 'distillation step')}
            with quiet():
                times = interleaved(chosen, options.rounds, setting.batch, options.device)
            key = 'wall' if options.device.startswith('cuda') else 'cpu'
            cost = {name: getattr(one, key) for name, one in times.items()}
            rows.append(
                dict(axis=axis, **asdict(setting), networks=cost['two-model step'], step=cost['distillation step'])
            )
    return dict(options=asdict(options), rows=rows)


def _model(stage: Stage, classes: int) -> Any:
    """The stage's Distiller for so many classes, with random weights and a guide that is sure of SURE of its places."""
    config = Config(copy.deepcopy(stage.chain_config.to_dict()))
    for split in ('train', 'val', 'test'):
        for part in leaves(config.data[split]):
            part.metainfo = dict(classes=tuple(f'class{index}' for index in range(classes)))
    resized = stage_config(read_chain(config).stages[stage.name], Path('work_dirs'), {})
    resized.model.guide_cache, resized.model.guide_cache_dir = 0, None
    with quiet(), DefaultScope.overwrite_default_scope(resized.default_scope):
        torch.manual_seed(0)
        model = build_stage(resized, None, None)
    if model.guide_view.head is not None:
        _make_sure(model.guide_view.head, model.guide_view.net, classes)
    return model


@torch.no_grad()
def _make_sure(head: Any, net: Any, classes: int) -> None:
    """Stretch the class scores of a head, for good, so that SURE of its locations score over .2."""
    scores = head(net.extract_feat(torch.randn(1, 3, 256, 256)))[0]
    best = torch.cat(
        [score.flatten(0, 1).unflatten(0, (-1, _channels(score, classes))).amax(1).flatten() for score in scores]
    )
    gain = float(1.5 / best.std().clamp(min=1e-6))
    offset = math.log(0.2 / 0.8) - gain * float(best.quantile(1 - SURE))

    def stretch(module: Any, inputs: Any, output: tuple) -> tuple:
        return ([score * gain + offset for score in output[0]], *output[1:])

    head.register_forward_hook(stretch)


def _channels(score: Tensor, classes: int) -> int:
    """Class scores of one anchor: those of an RPN are one."""
    return classes if score.shape[1] % classes == 0 else 1


def _batch(model: Any, setting: Setting, options: BenchOptions) -> dict[str, Any]:
    """Noise at both sizes, padded as a training pads a pair, and boxes of 16 HR pixels to half the side, evenly in log
    size."""
    ratio, divisor = float(model.alignment.ratio), model.data_preprocessor.divisor
    small = math.ceil(setting.side / ratio / divisor) * divisor
    generator = torch.Generator().manual_seed(0)
    hr, lr = (
        torch.randn(setting.batch, 3, side, side, generator=generator).to(options.device)
        for side in (round(small * ratio), small)
    )
    samples = []
    for _ in range(setting.batch):
        logs = torch.rand(setting.objects, 2, generator=generator) * math.log(setting.side / 32)
        sides = 16 / ratio * logs.exp()
        corners = torch.rand(setting.objects, 2, generator=generator) * (small - sides).clamp(min=0)
        gt = InstanceData(
            bboxes=torch.cat([corners, corners + sides], dim=1),
            labels=torch.randint(setting.classes, (setting.objects,), generator=generator),
        )
        shape = (small, small)
        sample = DetDataSample(
            metainfo=dict(img_shape=shape, batch_input_shape=shape, pad_shape=shape, scale_factor=(1, 1))
        )
        sample.gt_instances = gt
        sample.ignored_instances = InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long))
        samples.append(sample.to(options.device))
    return dict(inputs=dict(hr=hr, lr=lr), data_samples=samples)
