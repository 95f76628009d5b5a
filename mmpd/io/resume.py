"""Which checkpoint a training can go on from."""

from __future__ import annotations

import logging
import re
from pathlib import Path

from mmengine.logging import print_log

from ..errors import CheckpointError
from .read import PathLike, load_checkpoint

_STEP_FILE = re.compile(r'(epoch|iter)_(\d+)\.pth')


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
