"""Outputs of the frozen guide, computed once per distinct image ("ours").

The guide's forward on HR images dominates a step, and a frozen network gives the same output for the same image. With
augmentations that have few outcomes (flips), every image comes back; so outputs are kept under a digest of the image's
own pixels, which is right whatever the augmentation: with random crops it merely never hits. In main memory they serve
one training; on disk (`guide_store.py`) all trainings that have this guide.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from .guide_store import GuideStore
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
        folder: keep them there as well, without a limit but the disk's; what memory has no room for is found there.
        guide: gives the digest of the guide, which names its outputs in `folder`.

    Attributes:
        error: largest rounding error seen in the first images, over the largest value of its tensor.
    """

    def __init__(
        self,
        mebibytes: float,
        half: bool = False,
        folder: str | None = None,
        guide: Callable[[], str] | None = None,
    ) -> None:
        self.limit = int(mebibytes * 2**20)
        self.half = half
        self.folder = folder
        self.guide = guide
        self.error = 0.0
        self.forget()

    def forget(self) -> None:
        """Drop everything: the guide has other weights now."""
        self.size = self.hits = self.found = self.misses = 0
        self._kept: dict[str, dict[str, Any]] = {}
        self._notes: dict[tuple[str, Hashable], tuple[Tensor, ...]] = {}
        self._store: GuideStore | None = None

    @property
    def store(self) -> GuideStore | None:
        """Of the guide as it is when it is first asked for: its weights are loaded after it is built."""
        if self._store is None and self.folder and self.guide:
            self._store = GuideStore(self.folder, self.guide())
        return self._store

    def summary(self) -> str:
        """Hit rate since the last summary and size, for the log."""
        seen = max(self.hits + self.found + self.misses, 1)
        rounded = f', in float16: rounded by up to {self.error:.1e} of the largest value' if self.half else ''
        on_disk = f' ({self.found} on disk in {self.store.folder})' if self.store else ''
        text = (
            f'guide cache: {(self.hits + self.found) / seen:.1%} of {seen} images found{on_disk}, {len(self._kept)} '
            f'images kept in {self.size / 2**20:.0f} of {self.limit / 2**20:.0f} MiB{rounded}'
        )
        self.hits = self.found = self.misses = 0
        return text

    def run(self, view: NetworkView, images: Tensor, with_head: bool) -> Taps:
        """As `view.run(images, with_head)`; images (B, 3, H, W)."""
        keys = [self._key(image, with_head) for image in images]
        outputs = [self._one(view, image, key, with_head) for image, key in zip(images, keys, strict=True)]
        taps = view.taps()
        taps.memo = BatchMemo(self, keys)
        for name in outputs[0]:
            taps.record(
                name,
                pytree.tree_map(
                    lambda *leaves: _full(torch.cat(leaves).to(images.device)), *[o[name] for o in outputs]
                ),
            )
        return taps

    def note(self, image: str, key: Hashable, values: tuple[Tensor, ...]) -> None:
        """Keep what was worked out from the outputs of an image, if there is room."""
        size = sum(value.nbytes for value in values)
        if (image, key) not in self._notes and self.size + size <= self.limit:
            self._notes[image, key] = tuple(value.cpu().clone() for value in values)
            self.size += size

    def _one(self, view: NetworkView, image: Tensor, key: str, with_head: bool) -> dict[str, Any]:
        if key in self._kept:
            self.hits += 1
            return self._kept[key]
        output = self.store.read(key) if self.store else None
        if output is not None:
            self.found += 1
            return output
        self.misses += 1
        taps = view.run(image[None], with_head, with_stem=False)
        output = {name: pytree.tree_map(Tensor.cpu, taps[name]) for name in ('features', 'head') if name in taps}
        if self.half:
            output = pytree.tree_map(self._rounded, output)
        if self.store:
            self.store.write(key, output)
        size = sum(leaf.nbytes for leaf in pytree.tree_leaves(output) if isinstance(leaf, Tensor))
        if self.size + size <= self.limit:
            self._kept[key] = output
            self.size += size
        return output

    def _key(self, image: Tensor, with_head: bool) -> str:
        """Digest of the image and of all that decides a guide's output but the guide itself."""
        pixels = image.contiguous().cpu().numpy()
        kind = image.device.type
        precision = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else image.dtype
        how = pixels.shape, with_head, self.half, kind, str(precision), torch.__version__
        return hashlib.blake2b(pixels.tobytes() + repr(how).encode(), digest_size=16).hexdigest()

    def _rounded(self, leaf: Tensor) -> Tensor:
        half = leaf.half()
        if leaf.dtype != torch.float32 or not half.isfinite().all():  # beyond float16's range: kept as it is
            return leaf
        if self.misses <= MEASURED:
            error = (half.float() - leaf).abs().amax() / leaf.abs().amax().clamp(min=1e-12)
            self.error = max(self.error, float(error))
        return half


class BatchMemo:
    """The `Memo` of a batch.

    Args:
        images: digests.
    """

    def __init__(self, cache: GuideCache, images: list[str]) -> None:
        self.cache, self.images = cache, images

    def recall(self, key: Hashable, device: torch.device) -> tuple[Tensor | None, Tensor | None]:
        rows = [self.cache._notes.get((image, key)) for image in self.images]
        if any(row is None for row in rows):
            return None, None
        first, second = (torch.stack(column).to(device) for column in zip(*rows, strict=True))  # type: ignore[arg-type]
        return first, second

    def remember(self, key: Hashable, values: tuple[Tensor, Tensor]) -> None:
        for image, *row in zip(self.images, *values, strict=True):
            self.cache.note(image, key, tuple(row))


def _full(leaf: Tensor) -> Tensor:
    return leaf.float() if leaf.dtype == torch.float16 else leaf
