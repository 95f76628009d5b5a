"""What a network costs: parameters, FLOPs and pixels in. Nothing here is a time.

FLOPs are multiply-adds, as mmengine and mmdet count them, of one forward pass from the image to the head's raw outputs
at the size that the network really computes on: its image padded to `pad_size_divisor`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.analysis import FlopAnalyzer
from mmengine.config import Config, ConfigDict
from mmengine.registry import init_default_scope
from torch import Tensor, nn

from ..chain.chain import Chain
from ..chain.detector import bare_type
from ..chain.pyramid import PYRAMIDS
from ..data.reduction import parse_ratio
from ..data.sizes import lr_size
from ..errors import ConfigError
from .measure import Network

# Operators of torch that cost much and that mmengine does not count.
_HEAVY = {'aten::scaled_dot_product_attention', 'aten::_native_multi_head_attention', 'aten::baddbmm'}


@dataclass(frozen=True)
class Cost:
    """Cost of one network on one image.

    Attributes:
        name: the stage. pyramid: 'fine', 'cheap', or '' where there is no choice.
        size: (width, height) of the image, in its own pixels, before padding.
        params: number of parameters. flops: multiply-adds.
        uncounted: operators that the count leaves out although they are not cheap.
    """

    name: str
    pyramid: str
    size: tuple[int, int]
    params: int
    flops: int
    uncounted: tuple[str, ...] = ()

    @property
    def pixels(self) -> int:
        return self.size[0] * self.size[1]


class _Tensors(nn.Module):
    """A network as a function of images alone that returns a flat tuple of tensors, so that torch can trace it."""

    def __init__(self, net: nn.Module, height: int, width: int) -> None:
        super().__init__()
        self.net = net
        self.sample = DetDataSample(
            metainfo=dict(
                img_shape=(height, width),
                batch_input_shape=(height, width),
                ori_shape=(height, width),
                pad_shape=(height, width),
                scale_factor=(1.0, 1.0),
            )
        )

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        return tuple(_flatten(self.net(images, [self.sample], mode='tensor')))


def _flatten(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [tensor for part in value for tensor in _flatten(part)] if isinstance(value, (list, tuple)) else []


def network_cost(model: dict, size: tuple[int, int], name: str = '', pyramid: str = '') -> Cost:
    """Cost of a plain network's config on an image of `size` (width, height)."""
    model = ConfigDict(model)
    net = MODELS.build(model).eval()
    divisor = model.get('data_preprocessor', {}).get('pad_size_divisor', 1)
    width, height = (math.ceil(side / divisor) * divisor for side in size)
    images = torch.zeros(1, 3, height, width)
    analyzer = FlopAnalyzer(_Tensors(net, height, width), images)
    analyzer.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings('none')
    with torch.no_grad():
        flops = int(analyzer.total())
    skipped = analyzer.unsupported_ops()
    uncounted = sorted(op for op in skipped if op in _HEAVY or not op.startswith(('aten::', 'prim::')))
    params = sum(parameter.numel() for parameter in net.parameters())
    return Cost(name, pyramid, size, params, flops, tuple(uncounted))


def chain_costs(chain: Chain) -> list[Cost]:
    """Cost of each stage's network; LR networks with both pyramids, the configured one first."""
    costs = []
    for stage in chain.stages.values():
        init_default_scope(stage.task.scope)
        if stage.size == 'hr':
            costs.append(network_cost(stage.network, stage.image_size, stage.name))
            continue
        for pyramid in sorted(PYRAMIDS, key=lambda other: other != stage.pyramid):
            other = replace(stage, chain_config=Config({**chain.config.to_dict(), 'student_pyramid': pyramid}))
            costs.append(network_cost(other.network, stage.image_size, stage.name, pyramid))
    return costs


def size_of(network: Network) -> tuple[int, int]:
    """(width, height) that a network's test pipeline resizes into, after the reduction.

    Raises:
        ConfigError: the pipeline has no Resize with a fixed scale.
    """
    size: tuple[int, int] | None = None
    for transform in network.pipeline:
        kind = bare_type(transform)
        if kind in ('Resize', 'ResizeEdge') and isinstance(transform.get('scale'), (tuple, list)):
            size = (int(transform['scale'][0]), int(transform['scale'][1]))
        elif kind == 'ReduceResolution' and size:
            size = lr_size(size, parse_ratio(transform['ratio']))
    if size is None:
        raise ConfigError(
            'the test pipeline has no Resize(scale=(width, height)), so the image size is unknown: give --size'
        )
    return size
