"""An int8 student: post-training static quantisation of EDSR's layers (torch.ao, FX graph mode)."""

from __future__ import annotations

import copy
import io
import time
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from mmdet.registry import DATASETS
from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch import Tensor, nn

from ..chain.chain import read_chain
from ..chain.stage_config import stage_config
from ..errors import ConfigError
from ..evaluation.timing import limited
from .gallery import finished_networks
from .metric import luma, psnr, shave
from .networks import EDSR, RANGE


def quantise(net: Any, calibration: Iterable[Tensor]) -> Any:
    """A copy of a `SuperResolver` with EDSR whose layers compute in int8; for CPUs, not trainable.

    Weights: one scale a channel. Activations: one scale a tensor, from histograms of the calibration images. Mean,
    range and bicubic skip stay float32.

    Args:
        net: trained.
        calibration: LR images (1, 3, h, w), RGB 0..1, such as training patches.

    Raises:
        ConfigError: another network than EDSR, or no calibration image.
    """
    from torch.ao.quantization import get_default_qconfig_mapping
    from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx

    if not isinstance(net.backbone, EDSR):
        raise ConfigError(f'backbone.type = {type(net.backbone).__name__!r}: only EDSR can be quantised')
    result = copy.deepcopy(net).cpu().eval()
    backbone = result.backbone
    images = [(image - backbone.mean) * RANGE for image in calibration]
    if not images:
        raise ConfigError('no calibration image: the ranges of the activations are measured on some')
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter('ignore')  # torch.ao is deprecated in favour of torchao, which has no int8 convolution
        prepared = prepare_fx(backbone.trunk, get_default_qconfig_mapping('x86'), (images[0],))
        for image in images:
            prepared(image)
        backbone.trunk = convert_fx(prepared)
    return result


def stored_bytes(net: nn.Module) -> int:
    """Size of a network's weights as a file."""
    buffer = io.BytesIO()
    torch.save(net.state_dict(), buffer)
    return buffer.tell()


@torch.no_grad()
def cpu_seconds(run: Callable[[], Any], repeats: int = 10) -> float:
    """Median processor time of run() on one thread, after one warm-up.

    That is what a user waits for on an idle machine, however busy this one is.
    """
    times = []
    with limited(1):  # of several, those that wait for another burn time: eightfold on two busy cores
        run()
        for _ in range(repeats):
            begin = time.process_time()
            run()
            times.append(time.process_time() - begin)
    return sorted(times)[len(times) // 2]


@torch.no_grad()
def psnr_by_set(net: Any, dataset: Any) -> dict[str, float]:
    """Set → mean PSNR_Y of a network over a test set (an `SRFolder` with its test pipeline)."""
    found: dict[str, list[float]] = {}
    for index in range(len(dataset)):
        sample = dataset[index]
        (result,) = net.test_step(dict(inputs=[sample['inputs']], data_samples=[sample['data_samples']]))
        pair = (shave(luma(image.flip(0)), net.scale) for image in (result.pred_img, result.gt_img))
        found.setdefault(result.img_set, []).append(psnr(*pair))
    return {name: sum(scores) / len(scores) for name, scores in found.items()}


@dataclass(frozen=True)
class WeightsRow:
    """One kind of weights: set → PSNR_Y in dB, size of the weights' file, processor time of a 240×160 LR image."""

    label: str
    psnr: dict[str, float]
    bytes: int
    seconds: float


def compare(config: Config, work_dir: str | Path, stage: str, patches: int) -> list[WeightsRow]:
    """A finished EDSR stage in float32 and in int8, on the chain's test sets.

    Args:
        patches: training patches that the ranges of the activations are measured on.

    Raises:
        ConfigError: the stage is not finished, or no EDSR.
    """
    net = finished_networks(config, Path(work_dir), [stage])[0]
    own = stage_config(read_chain(config).stage(stage), work_dir, {})
    with DefaultScope.overwrite_default_scope('mmdet'):
        train, test = (DATASETS.build(own[f'{split}_dataloader'].dataset) for split in ('train', 'test'))
    inputs = [train[index]['inputs'] for index in range(min(patches, len(train)))]
    images = [image['lr'] if isinstance(image, dict) else image for image in inputs]
    int8 = quantise(net, [net.data_preprocessor(dict(inputs=[image]))['inputs'] for image in images])
    image = torch.rand(1, 3, 160, 240)
    return [
        WeightsRow(
            label,
            psnr_by_set(network, test),
            stored_bytes(network),
            cpu_seconds(partial(network, image)),
        )
        for label, network in (('float32', net), ('int8', int8))
    ]
