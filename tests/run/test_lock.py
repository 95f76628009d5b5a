"""WorkDirLock: one live process per folder; a dead one's lock is no obstacle."""

import json
import os
import signal
import socket
import subprocess
import sys

from mmpd.run import lock
from mmpd.run.lock import WorkDirBusy, WorkDirLock, is_alive

import pytest

HOLD = """
import os, sys, time
from mmpd.run.lock import WorkDirLock
with WorkDirLock(sys.argv[1]):
    child = os.fork()
    if child == 0:
        time.sleep(60)
        os._exit(0)
    print(child, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """A process that holds the lock and has forked a child, as data-loader workers are."""
    command = [sys.executable, '-c', HOLD, str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    worker = int(process.stdout.readline())
    yield process
    process.kill()
    process.wait()
    os.kill(worker, signal.SIGKILL)


def content(tmp_path) -> str:
    return (tmp_path / '.mmpd.lock').read_text()


def test_a_second_process_is_refused_with_the_name_of_the_first_until_that_is_killed(tmp_path, holder):
    with pytest.raises(WorkDirBusy, match=f'process {holder.pid} on {socket.gethostname()}, which locked it at 20'):
        WorkDirLock(tmp_path).__enter__()
    assert json.loads(content(tmp_path))['pid'] == holder.pid  # the refused one wrote nothing
    holder.kill()
    holder.wait()
    with WorkDirLock(tmp_path):  # although the orphaned child still runs
        assert json.loads(content(tmp_path))['pid'] == os.getpid()
    assert content(tmp_path) == ''


def test_the_same_process_cannot_take_it_twice_and_can_take_it_again(tmp_path):
    with WorkDirLock(tmp_path), pytest.raises(WorkDirBusy, match='this process'), WorkDirLock(tmp_path):
        pass
    with WorkDirLock(tmp_path):
        pass


def test_an_exception_inside_releases_it(tmp_path):
    with pytest.raises(KeyError), WorkDirLock(tmp_path):
        raise KeyError
    with WorkDirLock(tmp_path):
        pass


def test_owner_is_alive_only_with_its_own_start_time():
    me = lock._me()
    assert is_alive(me)
    assert not is_alive(me | dict(ticks=me['ticks'] - 1))  # the process id was used again
    assert not is_alive(me | dict(pid=2**22 + 1))
    assert is_alive(me | dict(host='elsewhere'))  # cannot be known from here


@pytest.mark.parametrize(('owner', 'busy'), [({}, True), (dict(ticks=1), False), (None, False)])
def test_without_file_locks_the_content_decides(tmp_path, monkeypatch, owner, busy):
    def unsupported(*_):
        raise OSError(lock.errno.ENOTSUP, 'not here')

    monkeypatch.setattr(lock.fcntl, 'lockf', unsupported)
    if owner is not None:
        (tmp_path / '.mmpd.lock').write_text(json.dumps(lock._me() | owner))
    if busy:
        with pytest.raises(WorkDirBusy):
            WorkDirLock(tmp_path).__enter__()
    else:
        with WorkDirLock(tmp_path):
            pass


def test_a_damaged_lock_file_is_no_obstacle(tmp_path):
    (tmp_path / '.mmpd.lock').write_text('{"pid": 1')
    with WorkDirLock(tmp_path):
        assert json.loads(content(tmp_path))['pid'] == os.getpid()
