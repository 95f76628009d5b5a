"""The one place where mmpd hooks into a network.

A detector's own `loss()` runs untouched (it is never re-implemented), and the taps record what the stem, the neck and
the head received and returned on the way. A tap that was not reached is an error, so a term can never be silently zero
because a module was renamed, wrapped or skipped.
"""

from __future__ import annotations

from typing import Any

from torch import nn

from ..align.memo import Memo


class Taps:
    """Context manager that records input and output of modules during one forward.

    Args:
        modules: name → module. Each must run at least once inside the context; the first call is kept.

    Attributes:
        memo: memory of what is worked out from a guide's outputs, where the guide cache keeps them.
    """

    def __init__(self, modules: dict[str, nn.Module]) -> None:
        self.modules = modules
        self.memo: Memo | None = None
        self._inputs: dict[str, tuple] = {}
        self._outputs: dict[str, Any] = {}
        self._stem_version: int | None = None
        self._handles: list = []

    def __enter__(self) -> Taps:
        for name, module in self.modules.items():
            self._handles.append(module.register_forward_hook(self._record(name)))
        return self

    def __exit__(self, *exc: object) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def _record(self, name: str):
        def hook(module: nn.Module, inputs: tuple, output: Any) -> None:
            if name == 'stem' and name not in self._outputs and isinstance(module, nn.Conv2d):
                self._stem_version = output._version
            self._inputs.setdefault(name, inputs)
            self._outputs.setdefault(name, output)

        return hook

    def record(self, name: str, output: Any) -> None:
        """Put an output in by hand: one that was kept from an earlier forward."""
        self._outputs[name] = output

    def release(self) -> Taps:
        """Forget what no term reads of a guide: its stem and all inputs. They are as large as everything else of it."""
        self._outputs.pop('stem', None)
        self._inputs.clear()
        return self

    def __contains__(self, name: str) -> bool:
        return name in self._outputs

    def __getitem__(self, name: str) -> Any:
        """Output of module `name`."""
        self._check(name)
        output = self._outputs[name]
        if name == 'stem' and self._stem_version not in (None, output._version):  # a VGG activates it in place
            output = self._outputs[name] = self.modules[name](*self._inputs[name])
            self._stem_version = output._version
        return output

    def inputs(self, name: str) -> tuple:
        """Positional inputs of module `name`."""
        self._check(name)
        return self._inputs[name]

    def _check(self, name: str) -> None:
        if name not in self._outputs:
            module = self.modules.get(name)
            raise RuntimeError(
                f'tap {name!r} on {type(module).__name__} was not reached in this forward: the network does not call '
                f'this module; taps that were reached: {sorted(self._outputs)}'
            )
