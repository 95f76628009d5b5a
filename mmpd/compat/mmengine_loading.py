"""Make both mmengine stacks load and resume through `mmpd.io.read.load_checkpoint` (ours).

onedl-mmengine falls back to `weights_only=False` when safe loading fails, and the pickle then runs. Stock mmengine
0.10.7 calls plain `torch.load`, which under torch ≥ 2.6 refuses mmengine's own HistoryBuffer: it cannot resume.
"""

import os
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch
from mmengine.runner import checkpoint as mmengine_checkpoint
from mmengine.runner import runner as mmengine_runner
from mmengine.runner.checkpoint import CheckpointLoader, find_latest_checkpoint

from ..errors import CheckpointError
from ..io import safe_pickle
from ..io.read import load_checkpoint
from ..io.resume import is_intact, latest_intact


def install_safe_loading() -> None:
    """Route mmengine's local and downloaded files, and the search for a file to resume from, through mmpd. Idempotent.

    Replaced: the loader of paths without prefix (mmengine's own registration point), `load_url` (used by http(s)://,
    torchvision://, open-mmlab://; mmengine's unpickles downloads), and `find_latest_checkpoint` as the Runner sees it.
    """
    CheckpointLoader.register_scheme(prefixes='', loader=load_from_local, force=True)
    mmengine_checkpoint.load_url = load_url
    if hasattr(mmengine_checkpoint, '_safe_torch_load'):  # onedl only; the stock code calls torch.load, safe by default
        mmengine_checkpoint._safe_torch_load = _safe_torch_load
    mmengine_runner.find_latest_checkpoint = find_resumable


def load_from_local(filename: str, map_location: Any = None) -> dict:
    """mmengine's loader of a path without prefix. Raises CheckpointError."""
    return load_checkpoint(filename, map_location)


def load_url(url: str, model_dir: str | None = None, map_location: Any = None, progress: bool = True, **_: Any) -> dict:
    """Download `url` once into torch's hub folder and read it safely.

    Raises:
        CheckpointError: no network (says what to do), or as `load_checkpoint`.
    """
    folder = Path(model_dir) if model_dir else Path(torch.hub.get_dir()) / 'checkpoints'
    target = folder / os.path.basename(urlparse(url).path)
    if not target.exists():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(target), progress=progress)
        except OSError as error:  # urllib's errors are OSErrors
            raise CheckpointError(
                f'{url} cannot be fetched ({error}). Without a network: put the file at {target}, or give the path of '
                'a local checkpoint, or train from scratch (init_cfg=None)'
            ) from error
    return load_checkpoint(target, map_location)


def find_resumable(work_dir: str) -> str | None:
    """The newest intact checkpoint in `work_dir`; where the files have other names, the one `last_checkpoint` names.

    None (start anew) rather than a path that does not load: the same command would fail forever.
    """
    found = latest_intact(work_dir)
    if found:
        return str(found)
    named = find_latest_checkpoint(work_dir)
    return named if named and is_intact(named) else None


def _safe_torch_load(file: Any, map_location: Any = None, weights_only: bool | None = None) -> Any:
    """onedl-mmengine's reader of other backends, without its unsafe fallback."""
    if isinstance(file, (str, os.PathLike)):
        return load_checkpoint(file, map_location)
    with torch.serialization.safe_globals(safe_pickle.allowed_globals()):
        return torch.load(file, map_location=map_location, weights_only=True)
