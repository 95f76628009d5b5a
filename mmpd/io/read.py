"""The only reader of checkpoints: as data, no code in a file is ever run (ours).

Kinds of file (all are read by `model_state`): a plain `state_dict`; a Runner checkpoint of a detector; a Runner
checkpoint of a Distiller (`student.*`, `terms.*`); any of them from DDP (`module.*`), in fp16, or with EMA.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mmengine.logging import print_log
from torch import Tensor

from ..errors import CheckpointError, ConfigError
from . import safe_pickle

PathLike = str | os.PathLike


def load_checkpoint(path: PathLike, map_location: Any = 'cpu') -> dict:
    """The content of a checkpoint file, as data: no code in it is ever run.

    Args:
        path: a local file. `torchvision://…`, `https://…` and mmengine's other prefixes go to mmengine's loaders.
    Raises:
        CheckpointError: missing, empty, truncated, not a checkpoint, unsafe, or (for a URL) not to be fetched.
    """
    if '://' in str(path):
        from .urls import load_url_checkpoint

        return load_url_checkpoint(str(path), map_location)
    local = Path(path).expanduser()
    content = safe_pickle.read(local, map_location)
    if not isinstance(content, dict):
        raise CheckpointError(f'{local} is no checkpoint: it holds a {type(content).__name__}, not a dict of weights')
    return content


def model_state(checkpoint: Mapping[str, Any], part: str | None = None) -> dict[str, Tensor]:
    """Weights under the keys of a plain detector (or of one `part` of a Distiller), in fp32.

    `state_dict` holds the averaged weights when EMAHook was on (it swaps them in before saving and keeps the raw ones
    in `ema_state_dict`), so it is the one to deploy; `ema_state_dict` is read only where it is all there is.

    Args:
        checkpoint: what `load_checkpoint` returned.
        part: keep the keys below this prefix, without it ('student', 'terms'). None: the student of a Distiller, or
            all of a plain detector.
    Raises:
        CheckpointError: there are no tensors (of that part).
    """
    entries: Any = checkpoint
    for key in ('state_dict', 'model', 'ema_state_dict'):
        if isinstance(checkpoint.get(key), Mapping):
            entries = checkpoint[key]
            break
    state = {key: value for key, value in entries.items() if isinstance(value, Tensor)}
    if any(key.startswith('module.') for key in state):  # DDP, or an averaged model with its counter `steps` beside
        state = _below(state, 'module')
    if part is None and any(key.startswith('student.') for key in state):
        part = 'student'
    if part is not None:
        state = _below(state, part)
    if not state:
        what = f' below {part!r}' if part else ''
        raise CheckpointError(f'no weights{what} in the checkpoint; its keys are {sorted(checkpoint)[:8]}')
    halves = [key for key, value in state.items() if value.is_floating_point() and value.element_size() < 4]
    if halves:
        print_log(f'{len(halves)} of {len(state)} tensors are half precision; cast to fp32', 'current')
        state.update({key: state[key].float() for key in halves})
    return state


def _below(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key[len(prefix) + 1 :]: value for key, value in state.items() if key.startswith(prefix + '.')}


def dataset_meta(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """`classes` and `palette` as stored by mmengine (lower case) or mmdet 2 (upper case); {} where there are none."""
    meta = checkpoint.get('meta') or {}
    stored = {str(key).lower(): value for key, value in {**meta, **(meta.get('dataset_meta') or {})}.items()}
    return {key: _plain(stored[key]) for key in ('classes', 'palette') if stored.get(key) is not None}


def check_classes(checkpoint: PathLike, classes: Iterable[str] | None) -> None:
    """Same number of classes in another order would load and give wrong numbers.

    Raises:
        ConfigError: the checkpoint names its classes, and they are not `classes`.
    """
    trained = dataset_meta(load_checkpoint(checkpoint)).get('classes')
    if trained and classes and tuple(trained) != tuple(classes):
        raise ConfigError(
            f'{checkpoint} was trained on the classes {tuple(trained)}, the data set has {tuple(classes)}: '
            'set metainfo.classes of the data set to the former, in that order'
        )


def _plain(value: Any) -> Any:
    """Tuples of Python values: what `torch.load(weights_only=True)` reads without any allow-list."""
    if isinstance(value, (list, tuple)) or getattr(value, 'ndim', 0) > 0:
        return tuple(_plain(item) for item in value)
    return value.item() if hasattr(value, 'item') else value
