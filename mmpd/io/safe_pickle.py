"""Read a torch file as data, never as a program: weights_only=True with an allow-list for what mmengine stores (ours).

Every name below was found by saving what both mmengine stacks save (message hub, optimizer, schedulers, dataset meta)
and adding what was refused, not by trusting a module as a whole.
"""

import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import ConfigDict
from mmengine.logging import HistoryBuffer
from mmengine.optim.scheduler.param_scheduler import OneCycleParamScheduler

from ..errors import CheckpointError

_DTYPES = 'bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32 float64 complex64 complex128 U S O'
_METHODS = {
    HistoryBuffer: ('min', 'max', 'mean', 'current'),
    OneCycleParamScheduler: ('_annealing_cos', '_annealing_linear'),
}
_FORBIDDEN = re.compile(r'GLOBAL (\S+)|unrecognized function (.+)|allowlisted via `add_safe_globals` but got (.+)')


def _known_method(owner: Any, name: str) -> Any:
    """Stands in for `getattr` while loading: pickles name a method as getattr(class, name).

    The real `getattr` in an allow-list (onedl-mmengine has it there) walks from any class to its module's globals.
    """
    if name in _METHODS.get(owner, ()):
        return getattr(owner, name)
    raise pickle.UnpicklingError(f'GLOBAL getattr({owner!r}, {name!r}) is not allowed')


def allowed_globals() -> list:
    """What may occur in a checkpoint beside tensors and plain Python values, as `torch.serialization.safe_globals`."""
    core = getattr(np, '_core', None) or np.core
    names: list = [HistoryBuffer, OneCycleParamScheduler, ConfigDict, np.ndarray, np.dtype]
    names += sorted({type(np.dtype(name)) for name in _DTYPES.split()}, key=lambda kind: kind.__name__)
    names.append((_known_method, 'builtins.getattr'))
    for module in ('numpy.core.multiarray', 'numpy._core.multiarray'):  # NumPy 1 and 2 write different names
        names.append((core.multiarray._reconstruct, f'{module}._reconstruct'))
        names.append((core.multiarray.scalar, f'{module}.scalar'))
    return names


def read(path: Path, map_location: Any = 'cpu') -> Any:
    """What `torch.load` finds in the local file `path`, without running anything.

    Raises:
        CheckpointError: the file is missing, empty, truncated, altered, no torch file, or names a forbidden global.
    """
    if not path.is_file():
        raise CheckpointError(f'checkpoint {path} does not exist (or is no plain file)')
    size = path.stat().st_size
    if size == 0:
        raise CheckpointError(f'checkpoint {path} is empty (0 bytes): a cut or full-disk write; use the one before it')
    _verify_checksums(path, size)
    try:
        with torch.serialization.safe_globals(allowed_globals()):
            return torch.load(path, map_location=map_location, weights_only=True)
    except pickle.UnpicklingError as error:
        forbidden = _FORBIDDEN.search(str(error))
        if forbidden:
            name = next(group for group in forbidden.groups() if group)
            raise CheckpointError(
                f'checkpoint {path} refused: it names `{name}`, which is code to run and not weights; nothing of it '
                'was run. If you trust the file: python tools/convert_checkpoint.py OLD NEW --trust, and use NEW.'
            ) from None
        raise _unreadable(path, size, error) from error
    except Exception as error:  # damaged files raise nearly anything: EOFError, RuntimeError, KeyError, ValueError, …
        raise _unreadable(path, size, error) from error


def _verify_checksums(path: Path, size: int) -> None:
    """torch writes CRCs and does not check them: flipped or zeroed blocks (a power cut) would load as weights."""
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except Exception as error:  # zipfile.BadZipFile, zlib.error, NotImplementedError, …
        raise _unreadable(path, size, error) from error
    if damaged:
        raise _unreadable(path, size, ValueError(f'wrong checksum of {damaged}'))


def _unreadable(path: Path, size: int, error: Exception) -> CheckpointError:
    reason = (str(error).strip().splitlines() or [''])[0][:160]
    return CheckpointError(
        f'{path} ({size} bytes) cannot be read as a checkpoint: damaged, truncated, or another kind of file '
        f'({type(error).__name__}: {reason})'
    )
