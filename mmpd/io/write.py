"""Files that appear whole or not at all (ours): write beside, fsync, rename, fsync the folder."""

import fcntl
import io
import os
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import torch

from ..errors import CheckpointError


def write_atomic(data: bytes | memoryview, path: str | os.PathLike) -> None:
    """Replace `path` by `data` so that a reader or a power cut sees the old file or the new one, never a part.

    The temporary file has a fixed name beside the target (`.NAME.tmp`): a rename is atomic only within one file system,
    and the leftover of a killed run is overwritten by the next write instead of piling up. Two writers of one path, in
    one process or in several, take turns by a lock on it.

    Raises:
        CheckpointError: the disk is full, read-only, …: names the file and the reason. The temporary file is removed
            and whatever `path` held before is untouched.
    """
    target = Path(path)
    temporary = target.with_name(f'.{target.name}.tmp')
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _open_alone(temporary) as file:
            try:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
                os.replace(temporary, target)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
        _fsync_folder(target.parent)
    except OSError as error:
        raise CheckpointError(
            f'{target} ({len(data)} bytes) could not be written: {error.strerror or error}. '
            'Nothing was lost: the file of that name, if any, is the one from before. '
            'Free space or choose another work_dir, and run the same command again.'
        ) from error


def _open_alone(path: Path) -> IO[bytes]:
    """`path`, empty and open for writing, held by this writer alone until it is closed (the kernel ends a killed
    writer's lock; file systems without locks have one writer at a time, as before)."""
    while True:
        file = open(path, 'ab')  # noqa: SIM115  (not 'wb': it would empty what another writer is writing)
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
                file.truncate(0)
                return file
        file.close()  # the writer before renamed it while this one waited


def save_atomic(obj: Any, path: str | os.PathLike) -> None:
    """`torch.save(obj)` to `path`, atomically.

    Serialised in memory first: torch's zip writer reports a full disk as a RuntimeError without the reason.

    Raises:
        CheckpointError: as `write_atomic`.
    """
    buffer = io.BytesIO()
    torch.save(obj, buffer)
    write_atomic(buffer.getbuffer(), path)


def _fsync_folder(folder: Path) -> None:
    """Make the rename itself durable: without it a power cut can bring the old name back."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
