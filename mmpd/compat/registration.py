"""Register mmpd in mmdet's registries when they come to be, so that `import mmpd` itself stays light (ours).

mmengine's registries import their `locations` at the first look-up. `install()` adds `mmpd.register` to those of every
registry of mmdet, as soon as `mmdet.registry` is imported; nothing heavy is imported before.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import sys
import types
from collections.abc import Sequence
from typing import Any

HOST, OURS = 'mmdet.registry', 'mmpd.register'


class _Loader(importlib.abc.Loader):
    """The host's own loader, and ours after it."""

    def __init__(self, loader: Any) -> None:
        self.loader = loader

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: types.ModuleType) -> None:
        self.loader.exec_module(module)
        add_location(module)


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != HOST:
            return None
        sys.meta_path.remove(self)  # asked once; the finders behind it know the module
        spec = importlib.util.find_spec(fullname)
        if spec is not None:
            spec.loader = _Loader(spec.loader)
        return spec


def add_location(registry: types.ModuleType) -> None:
    """Make every registry in `mmdet.registry` import mmpd.register at its first look-up."""
    from mmengine.registry import Registry

    for value in vars(registry).values():
        # names in upper case that are not mmdet's own are its parents in mmengine
        if isinstance(value, Registry) and value.scope == 'mmdet' and OURS not in value._locations:
            value._locations.append(OURS)
            if value._imported:
                importlib.import_module(OURS)


def install() -> None:
    """Idempotent. Where `mmdet.registry` is there already, its registries are told at once."""
    if HOST in sys.modules:
        add_location(sys.modules[HOST])
    elif not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
