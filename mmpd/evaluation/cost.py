"""What a network costs by counting: parameters, MACs, peak activation memory, pixels. Times are in timing.py.

MACs are multiply-adds (mmengine and mmdet print them as FLOPs) of one forward pass from the image to the head's raw
outputs, at the size that the network really computes on: its image padded to `pad_size_divisor`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.analysis import FlopAnalyzer
from mmengine.config import Config, ConfigDict
from mmengine.registry import init_default_scope
from torch import Tensor, nn

from ..chain.chain import Chain
from ..chain.pyramid import PYRAMIDS
from ..data.reduction import parse_ratio
from ..data.sizes import lr_size
from ..errors import ConfigError
from ..nested import bare_type
from .activation import peak_activation
from .measure import Network

# Operators of torch that cost much and that mmengine does not count.
_HEAVY = {'aten::scaled_dot_product_attention', 'aten::_native_multi_head_attention', 'aten::baddbmm'}


@dataclass(frozen=True)
class Cost:
    """Cost of one network on one image.

    Attributes:
        name: the stage. pyramid: 'fine', 'cheap', or '' where there is no choice.
        size: (width, height) of the image, in its own pixels, before padding.
        params: number of parameters. macs: multiply-adds.
        memory: bytes of activations that are alive at once, fp32, batch 1 (see activation.py).
        uncounted: operators that the count leaves out although they are not cheap.
    """

    name: str
    pyramid: str
    size: tuple[int, int]
    params: int
    macs: int
    memory: int = 0
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
    width, height = padded_size(model, size)
    images = torch.zeros(1, 3, height, width)
    function = _Tensors(net, height, width)
    analyzer = FlopAnalyzer(function, images)
    analyzer.unsupported_ops_warnings(False).uncalled_modules_warnings(False).tracer_warnings('none')
    with torch.no_grad():
        macs = int(analyzer.total())
    skipped = analyzer.unsupported_ops()
    uncounted = sorted(op for op in skipped if op in _HEAVY or not op.startswith(('aten::', 'prim::')))
    params = sum(parameter.numel() for parameter in net.parameters())
    memory = peak_activation(lambda: function(images), [*net.parameters(), *net.buffers()], images)
    return Cost(name, pyramid, size, params, macs, memory, tuple(uncounted))


def padded_size(model: dict, size: tuple[int, int]) -> tuple[int, int]:
    """(width, height) that the network computes on."""
    divisor = model.get('data_preprocessor', {}).get('pad_size_divisor', 1)
    width, height = (math.ceil(side / divisor) * divisor for side in size)
    return width, height


@dataclass(frozen=True)
class Candidate:
    """One network that a chain could deploy.

    Attributes:
        chain, stage: names. ratio: HR side / side of its images, 1 for an HR network. pyramid: as `Cost`.
        size: (width, height) of its images. model: its plain config.
    """

    chain: str
    stage: str
    ratio: Fraction
    pyramid: str
    size: tuple[int, int]
    model: ConfigDict


def candidates(
    chain: Chain, ratios: Sequence[Fraction] = (), pyramids: Sequence[str] = ()
) -> tuple[list[Candidate], list[str]]:
    """Every network of a chain, HR ones once, LR ones at each ratio and pyramid; and what is impossible, with reasons.

    Args:
        ratios: default: the chain's own. pyramids: default: both, the chain's own first.
    """
    found, impossible = [], []
    for stage in chain.stages.values():
        init_default_scope(stage.task.scope)
        low = stage.size == 'lr'
        kinds = pyramids or sorted(PYRAMIDS, key=lambda other, own=stage.pyramid: other != own)  # type: ignore[misc]
        for ratio in (ratios or [stage.ratio]) if low else [stage.ratio]:
            for pyramid in kinds if low else ['']:
                config = Config({**chain.config.to_dict(), 'student_pyramid': pyramid or stage.pyramid})
                other = replace(stage, ratio=ratio, chain_config=config)
                try:
                    found.append(Candidate(chain.name, stage.name, ratio, pyramid, other.image_size, other.network))
                except ConfigError as error:
                    impossible.append(f'{chain.name} {stage.name} at ratio {ratio}, {pyramid}: {error}')
    return found, impossible


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
