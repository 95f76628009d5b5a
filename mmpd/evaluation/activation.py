"""Peak activation memory: how many bytes of intermediate results are alive at the same time in one forward pass."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class _Live(TorchDispatchMode):
    """Counts the storages that operators return, until they are freed."""

    def __init__(self, known: set[int]) -> None:
        super().__init__()
        self.seen = set(known)
        self.live = self.peak = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        result = function(*args, **(kwargs or {}))
        for value in tree_leaves(result):
            if isinstance(value, Tensor):
                self._count(value)
        return result

    def _count(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self.seen:  # a view, a result in place, a parameter
            return
        size = storage.nbytes()
        self.seen.add(key)
        self.live += size
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._free, key, size)

    def _free(self, key: int, size: int) -> None:
        self.seen.discard(key)
        self.live -= size


def peak_activation(forward: Callable[[], Any], kept: list[Tensor], image: Tensor) -> int:
    """Most bytes that are alive at once, the image included, parameters and the libraries' own workspace not.

    Args:
        forward: one inference; its result is dropped.
        kept: parameters and buffers.
        image: the network's input.
    """
    known = {tensor.untyped_storage()._cdata for tensor in (*kept, image)}
    with torch.no_grad(), _Live(known) as counter:
        forward()
    return counter.peak + image.untyped_storage().nbytes()
