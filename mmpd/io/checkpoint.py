"""The only reader and writer of checkpoints: read safely, write atomically, load by name and shape (ours).

Kinds of file (all are read by `model_state`): a plain `state_dict`; a Runner checkpoint of a detector; a Runner
checkpoint of a Distiller (`student.*`, `terms.*`); any of them from DDP (`module.*`), in fp16, or with EMA.
"""

import logging
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.logging import print_log
from torch import Tensor, nn

from ..errors import CheckpointError, ConfigError
from . import safe_pickle
from .write import save_atomic

__all__ = [
    'LoadReport',
    'export_plain',
    'is_intact',
    'latest_intact',
    'load_checkpoint',
    'load_into',
    'model_state',
    'save_atomic',
]

PathLike = str | os.PathLike
_STEP_FILE = re.compile(r'(epoch|iter)_(\d+)\.pth')
_SHOWN = 4  # keys listed in a message


def load_checkpoint(path: PathLike, map_location: Any = 'cpu') -> dict:
    """The content of a checkpoint file, as data: no code in it is ever run.

    Args:
        path: a local file. `torchvision://…`, `https://…` and mmengine's other prefixes go to mmengine's loaders.
    Raises:
        CheckpointError: missing, empty, truncated, not a checkpoint, unsafe, or (for a URL) not to be fetched.
    """
    if '://' in str(path):
        from ..compat.mmengine_loading import load_url_checkpoint

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


@dataclass
class LoadReport:
    """What `load_into` did. Keys are those of the module."""

    loaded: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)  # in the network, not in the file
    unexpected: list[str] = field(default_factory=list)  # in the file, not in the network
    mismatched: list[tuple[str, tuple, tuple]] = field(default_factory=list)  # key, shape in the file, in the network

    def __str__(self) -> str:
        shapes = [f'{key} {file} → {net}' for key, file, net in self.mismatched]
        parts = [f'{len(self.loaded)} tensors fit']
        for name, keys in (
            ('missing in the file', self.missing),
            ('not in the network', self.unexpected),
            ('other shape (file → network)', shapes),
        ):
            if keys:
                more = ', …' if len(keys) > _SHOWN else ''
                parts.append(f'{len(keys)} {name}: {", ".join(keys[:_SHOWN])}{more}')
        return '; '.join(parts)


def load_into(module: nn.Module, path: PathLike, partial: bool = False, part: str | None = None) -> LoadReport:
    """Copy the weights in `path` into `module`, by name and shape.

    Args:
        partial: False: everything must fit. True (`init_from`): copy what fits; the report and the log list the rest.
        part: as `model_state`.
    Raises:
        CheckpointError: something does not fit (`partial=False`; a wrong shape is found before anything is copied), or
            fewer than half of the network's tensors would be set (`partial=True`). Says the likely cause.
    """
    checkpoint = load_checkpoint(path)
    try:
        state = model_state(checkpoint, part)
    except CheckpointError as error:
        raise CheckpointError(f'{path}: {error}') from error
    if partial:
        _adapt(module, state)
    report = compare(module, state)
    if not partial and report.mismatched:
        raise CheckpointError(_misfit(path, report, checkpoint))
    fitting = {key: state[key] for key in report.loaded}
    if partial:
        if 2 * len(fitting) < len(module.state_dict()):
            raise CheckpointError(f'{path} fits less than half of the network. {_misfit(path, report, checkpoint)}')
        module.load_state_dict(fitting, strict=False)
        print_log(f'Initialised from {path}: {report}', 'current')
        return report
    # By torch, not by the comparison: modules rename keys of older versions in their own load hooks.
    left_out = module.load_state_dict(state, strict=False)
    report.missing, report.unexpected = list(left_out.missing_keys), list(left_out.unexpected_keys)
    if report.missing or report.unexpected:
        raise CheckpointError(_misfit(path, report, checkpoint))
    return report


def _adapt(module: nn.Module, state: dict[str, Tensor]) -> None:
    """Let the module's own load hooks change `state` in place before shapes are compared: a vision transformer brings
    the position embedding to its grid, which would else be left out for its shape."""
    for name, part in module.named_modules():
        for hook in part._load_state_dict_pre_hooks.values():
            hook(state, f'{name}.' if name else '', {}, False, [], [], [])


def compare(module: nn.Module, state: Mapping[str, Tensor]) -> LoadReport:
    """Which tensors of `state` fit `module` by name and shape; nothing is copied."""
    own = module.state_dict()
    report = LoadReport(
        missing=[key for key in own if key not in state], unexpected=[key for key in state if key not in own]
    )
    for key in own.keys() & state.keys():
        if own[key].shape == state[key].shape:
            report.loaded.append(key)
        else:
            report.mismatched.append((key, tuple(state[key].shape), tuple(own[key].shape)))
    report.loaded.sort()
    report.mismatched.sort()
    return report


def _misfit(path: PathLike, report: LoadReport, checkpoint: Mapping[str, Any]) -> str:
    return f'checkpoint {path} does not fit the network: {report}. Likely cause: {_likely_cause(report, checkpoint)}'


def _likely_cause(report: LoadReport, checkpoint: Mapping[str, Any]) -> str:
    """Only the number of output channels of the classification layers differs ↔ other classes."""
    heads = [
        key for key, file, net in report.mismatched if file[1:] == net[1:] and re.search(r'cls|fc|logit|head', key)
    ]
    if heads and len(heads) == len(report.mismatched) and not report.missing and not report.unexpected:
        classes = dataset_meta(checkpoint).get('classes')
        known = f' (the file: {len(classes)} classes, {", ".join(classes[:3])}, …)' if classes else ''
        return f"another number of classes{known}; set num_classes and the data set's classes as in the file"
    return 'another architecture: the config of this network is not the one the file was trained with'


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


def export_plain(source: PathLike, target: PathLike) -> None:
    """Write the detector in the Runner checkpoint `source` as a plain file that stock mmdet loads, atomically.

    Holds `state_dict` (see `model_state`) and `meta`: dataset_meta (classes, palette), epoch, iter, best_score (the
    best validation metric so far; in a best checkpoint its own). Reading `source` back also proves that it is intact.

    Raises:
        CheckpointError: `source` is damaged, or the disk is full.
    """
    checkpoint = load_checkpoint(source)
    stored = checkpoint.get('meta') or {}
    meta = {key: stored[key] for key in ('epoch', 'iter') if key in stored}
    meta['dataset_meta'] = dataset_meta(checkpoint)
    best_score = (checkpoint.get('message_hub') or {}).get('runtime_info', {}).get('best_score')
    if best_score is not None:
        meta['best_score'] = _plain(best_score)
    save_atomic(dict(meta=meta, state_dict=model_state(checkpoint)), target)


def is_intact(path: PathLike) -> bool:
    """True where `path` loads and a Runner can resume from it; otherwise the log names the file and the fault."""
    try:
        checkpoint = load_checkpoint(path)
        lacking = {'meta', 'state_dict', 'message_hub'} - checkpoint.keys()
        if lacking:
            raise CheckpointError(f'{path} has no {sorted(lacking)}: not a checkpoint to resume from')
    except CheckpointError as error:
        print_log(f'Skipped: {error}', 'current', logging.WARNING)
        return False
    return True


def step_files(folder: PathLike) -> list[tuple[int, Path]]:
    """(N, path) of each `epoch_N.pth` in `folder`, oldest first; of each `iter_N.pth` where there are no epochs."""
    found: dict[str, list[tuple[int, Path]]] = {'epoch': [], 'iter': []}
    for path in Path(folder).glob('*_*.pth'):
        name = _STEP_FILE.fullmatch(path.name)
        if name:
            found[name[1]].append((int(name[2]), path))
    return sorted(found['epoch'] or found['iter'])


def latest_intact(folder: PathLike) -> Path | None:
    """The newest `epoch_N.pth` (`iter_N.pth`) that loads; damaged ones are named in the log. None where there is none.

    mmengine's `last_checkpoint` file is not asked: a cut run leaves it stale, empty, or naming a damaged file.
    """
    return next((path for _, path in reversed(step_files(folder)) if is_intact(path)), None)
