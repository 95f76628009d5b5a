"""What the Distiller needs to know of a super-resolution network: its stem, three maps of its body, its output."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..distill.taps import Taps
from ..distill.view import NetworkView, register_view
from .model import SuperResolver

POINTS = 3


@register_view(SuperResolver)
class SRView(NetworkView):
    """A `SuperResolver`. The head's output is the image (B, 3, s·h, s·w); the maps have the input's grid."""

    probe_side = 24  # a network of 43 M parameters and stride 1 takes a minute for 256 × 256 pixels on a CPU

    def __init__(self, net: Any) -> None:
        self.net = net
        self.stem = net.backbone.stem
        self.features = None
        self.head = net.backbone

    def taps(self) -> Taps:
        groups = self.net.backbone.groups
        ends = [max(round(len(groups) * (point + 1) / POINTS) - 1, 0) for point in range(POINTS)]
        modules = {f'point{point}': groups[end] for point, end in enumerate(ends)}
        return BodyTaps({'stem': self.stem, 'head': self.net.backbone, **modules}, self.net.backbone.group_map)

    def run(self, images: Tensor, with_head: bool = True, with_stem: bool = True) -> Taps:
        """One forward; the maps lie on the way to the head, so `with_head` saves nothing."""
        taps = self.taps()
        if not with_stem:
            del taps.modules['stem']
        with taps:
            self.net(images, mode='tensor')
        return taps


class BodyTaps(Taps):
    """Taps whose 'features' are the maps of the tapped groups.

    Args:
        modules: with the groups as 'point0', 'point1', …
        group_map: (output, inputs) of a group to a map.
    """

    def __init__(self, modules: dict[str, torch.nn.Module], group_map: Any) -> None:
        super().__init__(modules)
        self.group_map = group_map

    def release(self) -> Taps:
        """The maps are made of inputs, so they are made now."""
        self.record('features', self['features'])
        return super().release()

    def __contains__(self, name: str) -> bool:
        return super().__contains__('point0' if name == 'features' and not super().__contains__(name) else name)

    def __getitem__(self, name: str) -> Any:
        if name != 'features' or super().__contains__(name):
            return super().__getitem__(name)
        points = [f'point{point}' for point in range(POINTS)]
        return tuple(self.group_map(super(BodyTaps, self).__getitem__(point), self.inputs(point)) for point in points)
