"""Convert an old checkpoint that the user trusts into one of data only; nothing else in mmpd runs a pickle (ours)."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer, print_log
from torch import nn

from ..errors import CheckpointError
from .read import PathLike, load_checkpoint
from .write import save_atomic

_KEPT = (torch.Tensor, np.ndarray, np.generic, HistoryBuffer, str, bytes, int, float, bool, type(None))


def convert_trusted(old: PathLike, new: PathLike) -> list[str]:
    """Write what is data in `old` to `new`; **runs whatever code the pickle `old` contains**.

    A pickled nn.Module becomes its state dict. Other objects are left out.

    Returns:
        where in the checkpoint something was left out, as dotted paths.
    Raises:
        CheckpointError: `old` cannot be read, or `new` is `old`.
    """
    old, new = Path(old), Path(new)
    if old.resolve() == new.resolve():
        raise CheckpointError(f'NEW must be another file than OLD, both are {old}')
    try:
        content = torch.load(old, map_location='cpu', weights_only=False)
    except Exception as error:
        raise CheckpointError(
            f'{old} cannot be read even as a trusted pickle ({type(error).__name__}: {error})'
        ) from error
    dropped: list[str] = []
    data = _data_only(content, '', dropped)
    if not isinstance(data, dict):
        raise CheckpointError(f'{old} holds a {type(content).__name__}, not a dict of weights or a module')
    save_atomic(data, new)
    load_checkpoint(new)
    for where in dropped:
        print_log(f'{old}: left out {where}', 'current')
    return dropped


def _data_only(value: Any, where: str, dropped: list[str]) -> Any:
    """`value` without anything that is not data; None in place of it. Fills `dropped`."""
    if isinstance(value, nn.Module):
        return dict(value.state_dict())
    if isinstance(value, dict):
        return {key: _data_only(item, f'{where}.{key}'.lstrip('.'), dropped) for key, item in value.items()}
    if isinstance(value, (list, tuple, set)):
        items = [_data_only(item, f'{where}[{index}]', dropped) for index, item in enumerate(value)]
        return items if isinstance(value, list) else tuple(items)
    if isinstance(value, _KEPT) and not (isinstance(value, np.ndarray) and value.dtype == object):
        return value
    dropped.append(f'{where} ({type(value).__module__}.{type(value).__qualname__})')
    return None
