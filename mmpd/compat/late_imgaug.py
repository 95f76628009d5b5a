"""imgaug, imported when it is used and not when mmdet is.

One lane transform of onedl's mmdet imports it at its top, and with it scipy.stats, skimage and numba: a fifth of the
time that every command takes to start. Where mmdet does not import it (OpenMMLab's), nothing happens.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
import types
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

NAMES = (
    'imgaug',
    'imgaug.augmenters',
    'imgaug.augmentables',
    'imgaug.augmentables.lines',
    'imgaug.augmentables.segmaps',
)


class _Late:
    """A name of a module that was not imported yet: imports it when it is called or looked into."""

    def __init__(self, module: str, name: str) -> None:
        self._module, self._name = module, name

    def _real(self) -> Any:
        return getattr(importlib.import_module(self._module), self._name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._real()(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real(), name)


class _Placeholder(types.ModuleType):
    """Stands for a module while mmdet is imported; whoever keeps it gets the real one's names when they are used."""

    __path__: list[str] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith('__'):
            raise AttributeError(f"module '{self.__name__}' has no attribute '{name}'")
        return _Late(self.__name__, name)


@contextlib.contextmanager
def late_imgaug() -> Iterator[None]:
    """Within: `import imgaug…` imports nothing yet. After: it does, and what was imported within loads when used."""
    spec = None if any(name in sys.modules for name in NAMES) else find_spec(NAMES[0])
    if spec is None:  # it is there already, or not installed
        yield
        return
    stand_ins = {name: _Placeholder(name) for name in NAMES}
    stand_ins[NAMES[0]].__spec__ = spec  # whoever asks within whether it is installed
    for name, module in stand_ins.items():
        parent, _, own = name.rpartition('.')
        if parent:
            setattr(stand_ins[parent], own, module)
    sys.modules.update(stand_ins)
    try:
        yield
    finally:
        for name, module in stand_ins.items():
            if sys.modules.get(name) is module:
                del sys.modules[name]
