"""What the Distiller needs to know of a network, whatever its task: where its stem, features and head are.

One view per task, in its folder (mmpd/det/view.py, mmpd/cls/view.py): it registers itself with
`@register_view(ModelClass)`, and nothing else in the core changes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ..align.plan import Level
from ..errors import ConfigError
from .taps import Taps


@dataclass(frozen=True)
class Shape:
    """Channels and stride (pixels of the network's input per cell) of a map."""

    channels: int
    stride: float


class NetworkView:
    """A network seen by the Distiller. This base is one with a backbone and no head; a task's view says the rest.

    Attributes:
        net: the network.
        stem: first convolution of the backbone, before norm and activation (ISRD reads it).
        features: module whose output is the tuple of feature maps.
        head: module whose output the terms compare, None where there is none that they know.
        probe_side: side of the images (pixels of this network) at which its shapes are measured, where it is made for
            one size; None: any size will do.
        pooled: an image is one vector, the mean of its last map (classifiers); False: cells are compared with cells.
    """

    probe_side: int | None = None
    pooled = False

    def __init__(self, net: nn.Module) -> None:
        self.net: Any = net
        self.stem: nn.Module = self.find_stem()
        self.features: Any = self.net.backbone
        self.head: nn.Module | None = None

    def find_stem(self) -> nn.Module:
        for module in self.net.backbone.modules():
            if isinstance(module, nn.Conv2d):
                return module
        raise ConfigError(
            f'backbone {type(self.net.backbone).__name__} has no convolution, so there is no stem for ISRD'
        )

    @property
    def centre(self) -> float:
        """Where in its cell a map's vector looks, in strides: 0 behind padded kernels (ResNet), 0.5 behind patches or
        padding on the far side alone (Swin, EfficientNet). Backbones go on as their stem begins; heads, whose priors
        have offsets of their own, don't change it."""
        stem = self.stem
        if not isinstance(stem, nn.Conv2d):
            return 0.5
        padding = 0 if isinstance(stem.padding, str) else stem.padding[0]  # 'valid'; with 'same' the stride is 1
        before = (stem.kernel_size[0] - 1) / 2 - padding
        return min(max(before / (stem.stride[0] - 1), 0.0), 0.5) if stem.stride[0] > 1 else 0.0

    def feature_maps(self, output: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """The features module's output as a tuple of maps (B, C, h, w), finest first."""
        return (output,) if isinstance(output, Tensor) else tuple(output)

    def taps(self) -> Taps:
        """Taps on stem, features and head, to be entered around the network's own `loss()`."""
        modules = {'stem': self.stem, 'features': self.features}
        return Taps(modules if self.head is None else {**modules, 'head': self.head})

    def run(self, images: Tensor, with_head: bool = True, with_stem: bool = True) -> Taps:
        """One forward to features and, if wanted, the head's raw outputs; no loss, no post-processing."""
        taps = self.taps()
        if not with_stem:  # the largest map of all would be held until the forward ends
            del taps.modules['stem']
        with taps:
            feats = self.net.extract_feat(images)
            if with_head and self.head is not None:
                self.head(feats)
        return taps

    def compile(self) -> None:
        """`torch.compile` for backbone, neck and head of a frozen network: for `run(…, with_stem=False)` alone, since
        what is recorded inside of a compiled part is recorded in its first run.

        Raises:
            ConfigError: features or head lie inside of the backbone.
        """
        parts = [part for name in ('backbone', 'neck') if isinstance(part := getattr(self.net, name, None), nn.Module)]
        parts += [self.head] if self.head is not None and self.head not in parts else []
        tapped = {module for name, module in self.taps().modules.items() if name != 'stem'}
        if any(tapped & (set(part.modules()) - {part}) for part in parts):
            raise ConfigError(
                f'{type(self.net).__name__}: what the terms compare lies inside of its backbone, so it cannot be '
                'compiled in parts; leave CompileGuideHook out'
            )
        for part in parts:
            part.forward = torch.compile(part.forward)  # type: ignore[method-assign]

    def levels(self, shapes: list[Shape]) -> tuple[Level, ...]:
        """Pyramid levels, from the strides of the feature maps."""
        return tuple(Level(shape.stride, offset=0.5) for shape in shapes)

    def head_strides(self) -> list[float] | None:
        """Strides (pixels) that a head assumes of the feature maps, level by level; None where it assumes none."""
        return None

    def num_classes(self) -> int | None:
        """Number of classes that the network tells apart, None where it has none or does not say."""
        return None

    @torch.no_grad()
    def probe(self, height: int, width: int) -> tuple[Shape, list[Shape]]:
        """Shapes of the stem and of the feature maps, measured on a dummy image of (height, width) pixels."""
        training = {module: module.training for module in self.net.modules()}
        parameter = next(self.net.parameters())
        self.net.eval()
        try:
            taps = self.run(parameter.new_zeros(1, 3, height, width), with_head=False)
        finally:
            for module, mode in training.items():
                module.training = mode
        maps = [taps['stem'], *self.feature_maps(taps['features'])]
        shapes = [Shape(m.shape[1], height / m.shape[2]) for m in maps]
        return shapes[0], shapes[1:]


VIEWS: dict[type, type[NetworkView]] = {}


def register_view(*model_types: type) -> Callable[[type[NetworkView]], type[NetworkView]]:
    """Register the view class of a task's models."""

    def register(view: type[NetworkView]) -> type[NetworkView]:
        VIEWS.update(dict.fromkeys(model_types, view))
        return view

    return register


def view_of(net: nn.Module) -> NetworkView:
    """The view of a network, by its nearest registered ancestor."""
    for base in type(net).__mro__:
        if base in VIEWS:
            return VIEWS[base](net)
    raise ConfigError(f'{type(net).__name__} is no network of a known task: register its view, see mmpd.distill.view')
