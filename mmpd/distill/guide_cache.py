"""Outputs of the frozen guide, computed once per distinct image ("ours").

The guide's forward on HR images dominates a step, and a frozen network gives the same output for the same image. With
augmentations that have few outcomes (flips), every image comes back; so outputs are kept under a digest of the image's
own pixels, which is right whatever the augmentation: with random crops it merely never hits.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from .taps import Taps

if TYPE_CHECKING:
    from .view import NetworkView


MEASURED = 16
"""Images whose rounding error is measured."""


class GuideCache:
    """Memoised `NetworkView.run`. The guide runs on one image at a time, so an output never depends on its batch.

    The first images that fit are kept and none is dropped for another: epochs visit images in a cycle, and dropping
    the least recently used one would drop every image just before it is needed.

    Args:
        mebibytes: size limit of the kept outputs, of main memory and per process; the GPU holds those of its batch.
        half: keep float32 outputs in float16, twice as many images. Every output is rounded so, kept or not: whether an
            image is found must not change what is learned, or a resumed run would differ.

    Attributes:
        error: largest rounding error seen in the first images, over the largest value of its tensor.
    """

    def __init__(self, mebibytes: float, half: bool = False) -> None:
        self.limit = int(mebibytes * 2**20)
        self.half = half
        self.error = 0.0
        self.size = 0
        self.hits = 0
        self.misses = 0
        self._kept: dict[bytes, dict[str, Any]] = {}

    def summary(self) -> str:
        """Hit rate since the last summary and size, for the log."""
        seen = max(self.hits + self.misses, 1)
        rounded = f', in float16: rounded by up to {self.error:.1e} of the largest value' if self.half else ''
        text = (
            f'guide cache: {self.hits / seen:.1%} of {seen} images found, {len(self._kept)} images kept in '
            f'{self.size / 2**20:.0f} of {self.limit / 2**20:.0f} MiB{rounded}'
        )
        self.hits = self.misses = 0
        return text

    def run(self, view: NetworkView, images: Tensor, with_head: bool) -> Taps:
        """As `view.run(images, with_head)`; images (B, 3, H, W)."""
        outputs = [self._one(view, image, with_head) for image in images]
        taps = view.taps()
        for name in outputs[0]:
            taps.record(
                name,
                pytree.tree_map(
                    lambda *leaves: _full(torch.cat(leaves).to(images.device)), *[o[name] for o in outputs]
                ),
            )
        return taps

    def _one(self, view: NetworkView, image: Tensor, with_head: bool) -> dict[str, Any]:
        pixels = image.contiguous().cpu().numpy()
        key = hashlib.blake2b(pixels.tobytes() + repr((pixels.shape, with_head)).encode(), digest_size=16).digest()
        if key in self._kept:
            self.hits += 1
            return self._kept[key]
        self.misses += 1
        taps = view.run(image[None], with_head)
        output = {name: pytree.tree_map(Tensor.cpu, taps[name]) for name in ('features', 'head') if name in taps}
        if self.half:
            output = pytree.tree_map(self._rounded, output)
        size = sum(leaf.nbytes for leaf in pytree.tree_leaves(output) if isinstance(leaf, Tensor))
        if self.size + size <= self.limit:
            self._kept[key] = output
            self.size += size
        return output

    def _rounded(self, leaf: Tensor) -> Tensor:
        half = leaf.half()
        if leaf.dtype != torch.float32 or not half.isfinite().all():  # beyond float16's range: kept as it is
            return leaf
        if self.misses <= MEASURED:
            error = (half.float() - leaf).abs().amax() / leaf.abs().amax().clamp(min=1e-12)
            self.error = max(self.error, float(error))
        return half


def _full(leaf: Tensor) -> Tensor:
    return leaf.float() if leaf.dtype == torch.float16 else leaf
