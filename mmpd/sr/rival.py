"""The honest rival of an LR detector: the LR image, upscaled by a super-resolution network, in the HR detector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmdet.registry import TRANSFORMS
from mmengine.config import Config
from mmengine.registry import init_default_scope

from ..chain.chain import Chain
from ..chain.datasets import leaves
from ..chain.deploy import bench_config
from ..chain.stage import Stage
from ..errors import ConfigError
from ..evaluation.cost import network_cost
from ..evaluation.measure import measure, network_of
from ..evaluation.predict import build_network
from ..io.deploy_folder import Source, find_source
from ..nested import bare_type
from .infer import Upscaler
from .quantise import cpu_seconds


@TRANSFORMS.register_module()
class SuperResolve(BaseTransform):
    """Upscale the (reduced) image of a sample; `scale_factor` follows, boxes in original pixels stay.

    Args:
        folder: of a finished stage of an sr chain.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder

    @cached_property
    def upscaler(self) -> Upscaler:
        """Built at the first image, in the process that loads it."""
        source = find_source(self.folder)
        return Upscaler(build_network(network_of(source.deploy), source.weights, 'cpu'))

    def transform(self, results: dict) -> dict:
        image = np.ascontiguousarray(self.upscaler(results['img'][..., ::-1])[..., ::-1])
        scale = self.upscaler.model.scale
        results.update(img=image, img_shape=image.shape[:2])
        results['scale_factor'] = tuple(factor * scale for factor in results['scale_factor'])
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(folder={self.folder!r})'


def rival_config(stage: Stage, ratio: Fraction, folder: str | Path) -> Config:
    """bench.py of an HR stage whose images are reduced by `ratio` and upscaled again by the network in `folder`.

    Raises:
        ConfigError: a stage on LR images, or a network of another scale than the ratio.
    """
    if stage.size != 'hr':
        raise ConfigError(f'stages.{stage.name} sees LR images: the rival upscales them for an HR detector')
    scale = sr_source(folder).deploy.model.backbone.scale
    if scale != ratio:
        raise ConfigError(f'{folder} upscales by {scale}, the chain reduces by {ratio}: take a network of that scale')
    config = bench_config(stage)
    for split in ('val', 'test'):
        for dataset in leaves(config[f'{split}_dataloader'].dataset):
            names = [step['type'] for step in dataset.pipeline]
            place = names.index('ReduceResolution')
            dataset.pipeline[place].ratio = str(ratio)
            dataset.pipeline.insert(place + 1, dict(type='SuperResolve', folder=str(folder)))
    config.custom_imports.imports.append('mmpd.sr.register')
    return config


@dataclass(frozen=True)
class RivalRow:
    """One way from an image to boxes: AP on a split; parameters, multiply-adds, processor time of all its networks."""

    label: str
    ap50: float
    ap: float
    params: int
    macs: int
    seconds: float


class Part(NamedTuple):
    """Cost of one network on one image."""

    params: int
    macs: int
    seconds: float


def compare(chain: Chain, hr: Source, lr: Source, folders: Sequence[str | Path], split: str = 'test') -> list[RivalRow]:
    """HR detector on HR images; the LR student; for each sr folder the HR detector on upscaled LR images.

    Args:
        hr, lr: an HR and an LR stage of the detection chain, with weights.
        folders: of finished stages of sr chains whose scale is the chain's ratio.
    """
    hr_stage, lr_stage = chain.stage(hr.name), chain.stage(lr.name)
    upscaled = [rival_config(hr_stage, chain.ratio, folder) for folder in folders]  # first: it may refuse

    def row(label: str, config: Config, source: Source, *parts: Part) -> RivalRow:
        found = measure(config, source.weights, split).metrics
        return RivalRow(label, found['AP50'], found['AP'], *map(sum, zip(*parts, strict=True)))

    hr_part, lr_part = _part(hr, hr_stage.image_size), _part(lr, lr_stage.image_size)
    rows = [
        row(f'HR image → {hr.name}', bench_config(hr_stage), hr, hr_part),
        row(f'LR image → {lr.name}', bench_config(lr_stage), lr, lr_part),
    ]
    for folder, config in zip(folders, upscaled, strict=True):
        sr = sr_source(folder)
        extra = _part(Source('sr', sr.deploy, None, sr.weights), lr_stage.image_size)
        rows.append(row(f'LR image → {folder} → {hr.name}', config, hr, hr_part, extra))
    return rows


def sr_source(folder: str | Path) -> Source:
    """The network of a finished sr stage. Raises ConfigError: another task's."""
    source = find_source(folder)
    if bare_type(source.deploy.model) != 'SuperResolver':
        raise ConfigError(f'{folder} holds a {source.deploy.model.type}: give the folder of a super-resolution stage')
    return source


def _part(source: Source, size: tuple[int, int]) -> Part:
    """Cost of one network on a random image of `size` (width, height)."""
    network = network_of(source.deploy)
    init_default_scope(network.config.get('default_scope', 'mmdet'))
    cost = network_cost(network.config.model, size, source.name)
    model = build_network(network, source.weights, 'cpu')
    image = torch.randint(0, 256, (3, size[1], size[0]), dtype=torch.uint8)
    batch = dict(inputs=[image], data_samples=[_sample(model, size)])
    return Part(cost.params, cost.macs, cpu_seconds(lambda: model.test_step(batch), 5))


def _sample(model: Any, size: tuple[int, int]) -> Any:
    from mmdet.structures import DetDataSample

    from .model import SRDataSample, SuperResolver

    shape = size[::-1]
    kind = SRDataSample if isinstance(model, SuperResolver) else DetDataSample
    return kind(metainfo=dict(img_shape=shape, ori_shape=shape, scale_factor=(1.0, 1.0)))
