"""A stand-in for mmcv's compiled extension, `mmcv._ext`, where it is absent.

mmcv from a plain `pip install` brings `mmcv.ops` in Python but not the compiled module those files load, so that
`import mmcv.ops`, and with it `import mmdet.models`, ends in "No module named 'mmcv._ext'". `install()` appends a
finder to `sys.meta_path`. Python asks it last, hence a compiled extension always wins and is left alone, and nothing is
imported until `mmcv.ops` is. mmcv's own Python layer (argument checks, autograd functions, modules) stays in use; only
the calls that it makes into the extension are answered here, with the same signatures: inputs, preallocated outputs.

Operators: one file of mmpd.compat.ops for each group, with an `OPERATORS` table at its end. All run on CPU and CUDA,
forward and backward. What is not there, and what needs it, is in mmpd.compat.ops.missing; docs/operators.md has both.
"""

import importlib
import importlib.abc
import importlib.machinery
import sys
import types
from collections.abc import Callable, Sequence
from typing import Any

from .ops.missing import needed_by

EXTENSION = 'mmcv._ext'
_PROVIDERS = tuple(
    f'mmpd.compat.ops.{name}'
    for name in ('nms', 'roi', 'deform', 'deform_roi_pool', 'focal', 'carafe', 'masked_conv', 'sync_bn')
)


class MissingOperatorError(NotImplementedError):
    """A compiled mmcv operator was called that the stand-in does not have."""


def _missing(name: str) -> Callable[..., Any]:
    """Return a callable that raises `MissingOperatorError` naming the operator.

    The error comes at the call, not at import: `mmcv.ops` looks up all of its operators when it is imported, and a
    detector that never calls a missing one must not fail for it.
    """

    user = needed_by(name)
    blocked = f', which is for {user}' if user else ''

    def missing_operator(*_args: Any, **_kwargs: Any) -> Any:
        raise MissingOperatorError(
            f"mmcv operator '{name}' was called, but this mmcv has no compiled extension ({EXTENSION}) and mmpd's "
            f"stand-in does not provide '{name}'{blocked}. Install an mmcv with compiled operators, it takes over: "
            'prebuilt for your torch (`pip install -U openmim && mim install mmcv`), or built from source with a C++ '
            'compiler (`MMCV_WITH_OPS=1 pip install --no-build-isolation --no-binary mmcv mmcv`).'
        )

    missing_operator.__name__ = name
    return missing_operator


class _Extension(types.ModuleType):
    """The module that `import mmcv._ext` returns; unknown public names are callables that raise."""

    def __getattr__(self, name: str) -> Any:
        # Python and its tools probe modules for dunders (__path__, __file__, ...): those must stay absent.
        if name.startswith('__'):
            raise AttributeError(f"module '{self.__name__}' has no attribute '{name}'")
        return _missing(name)


def _version_note() -> str:
    return 'n/a (mmpd stand-in on torchvision)'


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Answers for `mmcv._ext` only, and only when no finder before it did."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != EXTENSION:
            return None
        return importlib.machinery.ModuleSpec(fullname, self, origin='mmpd.compat.mmcv_ops')

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        return _Extension(spec.name, "mmpd's stand-in for mmcv's compiled operators")

    def exec_module(self, module: types.ModuleType) -> None:
        for provider in _PROVIDERS:
            vars(module).update(importlib.import_module(provider).OPERATORS)
        # Runner logs both at start, through mmcv's collect_env.
        vars(module).update(get_compiler_version=_version_note, get_compiling_cuda_version=_version_note)


def install() -> None:
    """Make `mmcv.ops` importable where mmcv has no compiled extension. Idempotent; call it before mmdet is imported."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder())


def is_active() -> bool:
    """Whether `mmcv.ops` runs on the stand-in: False where a compiled extension exists. Imports `mmcv._ext`."""
    return isinstance(importlib.import_module(EXTENSION), _Extension)
