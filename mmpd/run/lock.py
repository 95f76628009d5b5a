"""One process per work dir (ours)."""

import errno
import fcntl
import json
import logging
import os
import socket
import time
from pathlib import Path
from types import TracebackType
from typing import IO

from ..errors import WorkDirBusy

_UNSUPPORTED = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL)
_held_here: set[Path] = set()


class WorkDirLock:
    """`with WorkDirLock(work_dir):` holds `<work_dir>/.mmpd.lock` until the block ends or the process dies.

    A POSIX record lock, not `flock` and not a file's mere existence: the kernel drops it at SIGKILL, and data-loader
    workers that outlive their killed parent by seconds do not inherit it (they would a `flock`). The file's content
    (pid, its start time, host) is for messages, and decides alone only on file systems without locks.
    With a launcher, only rank 0 takes it.

    Raises:
        WorkDirBusy: on entering, naming the process that holds it.
    """

    def __init__(self, work_dir: str | os.PathLike) -> None:
        self.path = Path(work_dir).resolve() / '.mmpd.lock'
        self._file: IO[str] | None = None

    def __enter__(self) -> 'WorkDirLock':
        if self.path in _held_here:  # record locks do not exclude their own process
            raise WorkDirBusy(f'{self.path.parent} is already locked by this process (pid {os.getpid()})')
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # The file is never deleted: whoever opened the deleted one would hold a lock that nobody else sees.
        file = open(self.path, 'a+', encoding='utf-8')
        file.seek(0)
        owner = _parse(file.read())
        try:
            self._take(file, owner)
        except BaseException:
            file.close()
            raise
        if owner:
            from mmengine.logging import print_log  # here: the lock is taken before anything slow is imported

            print_log(f'Took over {self.path}, left by {_describe(owner)}, which is gone', 'current', logging.WARNING)
        _write(file, _me())
        self._file = file
        _held_here.add(self.path)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._file is not None
        _write(self._file, None)
        self._file.close()  # also releases the lock
        self._file = None
        _held_here.discard(self.path)

    def _take(self, file: IO[str], owner: dict | None) -> None:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except OSError as error:
            supported = error.errno not in _UNSUPPORTED
        if supported or (owner is not None and is_alive(owner)):
            raise WorkDirBusy(
                f'{self.path.parent} is in use by {_describe(owner)}. Wait for it, stop it, or use another --work-dir.'
            )


def is_alive(owner: dict) -> bool:
    """Whether the process that wrote `owner` still runs; on another host it is taken to run.

    The start time is compared as well: process ids are used again, after a reboot from the start.
    """
    if owner.get('host') != socket.gethostname():
        return True
    return owner.get('ticks') is not None and _start_ticks(owner.get('pid', -1)) == owner['ticks']


def _start_ticks(pid: int) -> int | None:
    """Start of process `pid` in clock ticks since boot (field 22 of /proc/PID/stat); None where it does not run."""
    try:
        stat = Path(f'/proc/{pid}/stat').read_text()
    except OSError:
        return None
    fields = stat[stat.rindex(')') + 2 :].split()  # the name, field 2, may hold spaces and parentheses
    return None if fields[0] in 'ZX' else int(fields[19])


def _me() -> dict:
    pid = os.getpid()
    now = time.strftime('%Y-%m-%d %H:%M:%S')
    return dict(pid=pid, host=socket.gethostname(), ticks=_start_ticks(pid), locked_at=now)


def _parse(text: str) -> dict | None:
    try:
        owner = json.loads(text)
    except ValueError:
        return None
    return owner if isinstance(owner, dict) else None


def _describe(owner: dict | None) -> str:
    if not owner:
        return 'another process (its lock file has no readable content yet)'
    return f'process {owner.get("pid")} on {owner.get("host")}, which locked it at {owner.get("locked_at")}'


def _write(file: IO[str], owner: dict | None) -> None:
    file.truncate(0)
    if owner:
        file.write(json.dumps(owner))
    file.flush()
