"""SIGKILL at any moment of a chain: the same command finishes it, and the weights are those of an uninterrupted run."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.faults.client import ROOT, ChainRun, UncutChain, differences

import pytest

STAGES = ('teacher', 'assistant', 'student')
KINDS = ('iteration', 'write', 'validation', 'between')
ITERATIONS = 2  # of an epoch: the checkpoint interval


def kind_of(moment: str) -> str:
    """'teacher half-written epoch_1.pth' → 'write'."""
    stage, what, *detail = moment.split()
    name = detail[0] if detail else ''
    if what in ('iteration', 'iterated'):
        return 'iteration'
    if what == 'validation':
        return 'validation'
    return 'write' if name.endswith('.pth') and what != 'between' else 'between'


def choose(moments: list[str], seed: int, kind: str, stage: str) -> int:
    """Number (from 1) of a random moment of that kind and stage."""
    numbers = [i for i, m in enumerate(moments, 1) if kind_of(m) == kind and m.split()[0] == stage]
    assert numbers, f'no {kind} in {stage}: {moments}'
    return random.Random(f'{seed} {kind} {stage}').choice(numbers)


def trained(*runs: list[str]) -> list[str]:
    """Stage of each training iteration that was begun, from the moments of some runs."""
    return [moment.split()[0] for moments in runs for moment in moments if moment.split()[1] == 'iteration']


def finished_stages(work_dir: Path) -> set[str]:
    return {path.parent.name for path in work_dir.glob('*/done.json')}


def check_resumed(server, uncut: UncutChain, work_dir: Path, cut: ChainRun, *argv: str) -> ChainRun:
    """Run the same command again and compare the outcome with the uninterrupted chain."""
    finished = finished_stages(work_dir)
    again = server.start(uncut.config, work_dir, *argv).finish()
    assert not finished & set(trained(again.moments())), 'a finished stage was trained again'
    whole = len(trained(uncut.moments))
    assert len(trained(cut.moments(), again.moments())) <= whole + ITERATIONS, 'more than one interval was lost'
    assert differences(work_dir, uncut.work_dir) == []
    for stage in STAGES:
        mine, theirs = (json.loads((d / stage / 'done.json').read_text()) for d in (work_dir, uncut.work_dir))
        assert (mine['best_score'], mine['epochs']) == (theirs['best_score'], theirs['epochs'])
    assert not list(work_dir.rglob('*.tmp')), 'a half-written file was left'
    return again


def kill_and_resume(server, uncut: UncutChain, work_dir: Path, moment: int) -> None:
    cut = server.start(uncut.config, work_dir, at=moment)
    assert cut.wait() == -signal.SIGKILL, cut.output()
    assert cut.moments() == uncut.moments[:moment], 'the runs differ before the cut already'
    again = check_resumed(server, uncut, work_dir, cut)
    assert f'left by process {cut.pid}' in again.message()


@pytest.mark.parametrize(
    ('kind', 'stage'), [('iteration', 'student'), ('write', 'assistant'), ('validation', 'teacher')]
)
def test_killed_once(server, short_chain, tmp_path, kind, stage):
    kill_and_resume(server, short_chain, tmp_path / 'run', choose(short_chain.moments, 0, kind, stage))


@pytest.mark.soak
@pytest.mark.parametrize('seed', [1, 2])
@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('stage', STAGES)
def test_killed_at_every_kind_of_moment(server, long_chain, tmp_path, kind, stage, seed):
    kill_and_resume(server, long_chain, tmp_path / 'run', choose(long_chain.moments, seed, kind, stage))


@pytest.fixture(scope='module')
def duration(server, long_chain, tmp_path_factory) -> float:
    """Seconds of one uninterrupted chain, as busy as the machine is now."""
    begin = time.monotonic()
    server.start(long_chain.config, tmp_path_factory.mktemp('timed')).finish()
    return time.monotonic() - begin


@pytest.mark.soak
@pytest.mark.parametrize('seed', range(6))
def test_killed_by_the_clock(server, long_chain, duration, tmp_path, seed):
    """From outside, at a time that no code of ours marks."""
    cut = server.start(long_chain.config, tmp_path / 'run')
    time.sleep(random.Random(seed).uniform(0.02, 0.8) * duration)
    os.kill(cut.pid, signal.SIGKILL)
    assert cut.wait() == -signal.SIGKILL
    check_resumed(server, long_chain, tmp_path / 'run', cut)


@pytest.mark.soak
def test_killed_again_and_again(server, long_chain, tmp_path):
    """Each life lasts 40 moments, more than an epoch with its checkpoint and validation: progress must survive."""
    lives = 0
    while (code := server.start(long_chain.config, tmp_path / 'run', at=40).wait()) != 0:
        lives += 1
        assert code == -signal.SIGKILL
        assert lives < 40, 'no progress'
    assert lives > 3
    assert differences(tmp_path / 'run', long_chain.work_dir) == []


@pytest.mark.soak
def test_killed_as_users_run_it(short_chain, tmp_path):
    """The command itself, preflight and workers included, killed twice from outside."""
    command = [
        sys.executable,
        str(ROOT / 'tools/train.py'),
        str(short_chain.config),
        '--work-dir',
        str(tmp_path / 'run'),
    ]
    environment = {**os.environ, 'OMP_NUM_THREADS': '1'}
    for stage in ('teacher', 'student'):
        process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while not (tmp_path / 'run' / stage / 'epoch_1.pth').exists() and process.poll() is None:
            time.sleep(0.05)
        process.kill()
        assert process.wait() == -signal.SIGKILL
    subprocess.run(command, env=environment, check=True, timeout=300, stdout=subprocess.DEVNULL)
    assert differences(tmp_path / 'run', short_chain.work_dir) == []


@pytest.fixture(scope='module')
def cut_late(server, short_chain, tmp_path_factory) -> Path:
    """Work dir of a chain that was killed while the student's second epoch was validated: epochs 1 and 2 are there."""
    work_dir = tmp_path_factory.mktemp('late')
    run = server.start(short_chain.config, work_dir, at='student validation 2')
    assert run.wait() == -signal.SIGKILL, run.output()
    return work_dir


@pytest.mark.parametrize('damage', ['zero bytes', 'half', 'flipped'])
def test_a_damaged_newest_checkpoint_is_named_and_the_one_before_is_used(
    server, short_chain, cut_late, tmp_path, damage
):
    work_dir = tmp_path / 'moved'  # a work dir may also be moved between two runs
    shutil.copytree(cut_late, work_dir)
    newest = work_dir / 'student/epoch_2.pth'
    content = bytearray(newest.read_bytes())
    middle = len(content) // 2
    content[middle] ^= 0xFF
    newest.write_bytes({'zero bytes': b'', 'half': content[:middle], 'flipped': content}[damage])
    again = server.start(short_chain.config, work_dir).finish()
    assert re.search(f'Skipped: .*{re.escape(str(newest))}', again.message())
    assert 'resuming from epoch_1.pth' in again.message()
    assert trained(again.moments()) == ['student'] * ITERATIONS
    assert differences(work_dir, short_chain.work_dir) == []


def test_a_full_disk_ends_with_the_reason_and_the_last_checkpoint_stays(server, short_chain, cut_late, tmp_path):
    work_dir = tmp_path / 'run'
    shutil.copytree(cut_late, work_dir)
    shutil.rmtree(work_dir / 'student')
    full = server.start(short_chain.config, work_dir, at='student iterated 3', action='full disk')
    assert full.wait() == 1
    assert 'epoch_2.pth' in full.message() and 'No space left on device' in full.message()
    assert 'Free space or choose another work_dir, and run the same command again' in full.message()
    assert 'Traceback' not in full.output()
    assert [path.name for path in work_dir.glob('student/epoch_*.pth')] == ['epoch_1.pth']
    again = check_resumed(server, short_chain, work_dir, full)
    assert 'student: resuming from epoch_1.pth' in again.message()


def test_a_limit_of_the_operating_system_is_a_full_disk_too(server, short_chain, cut_late, tmp_path):
    """Not simulated: the kernel refuses to let a file grow beyond 200 kB."""
    work_dir = tmp_path / 'run'
    shutil.copytree(cut_late, work_dir)
    (work_dir / 'student/epoch_2.pth').unlink()
    kept = (work_dir / 'student/epoch_1.pth').read_bytes()
    full = server.start(short_chain.config, work_dir, file_limit=200_000)
    assert full.wait() == 1
    assert 'File too large' in full.message() and 'Nothing was lost' in full.message()
    assert (work_dir / 'student/epoch_1.pth').read_bytes() == kept
    check_resumed(server, short_chain, work_dir, full)


def test_a_second_process_is_refused_naming_the_first(server, short_chain, tmp_path):
    work_dir = tmp_path / 'run'
    first = server.start(short_chain.config, work_dir, at='teacher iteration', action='stop')
    first.wait_for('teacher iteration')
    second = server.start(short_chain.config, work_dir)
    assert second.wait() == 1
    assert f'is in use by process {first.pid} on' in second.message() and '--work-dir' in second.message()
    assert second.moments() == []
    os.kill(first.pid, signal.SIGKILL)
    assert first.wait() == -signal.SIGKILL


def test_a_killed_data_loader_worker_is_an_error_and_not_a_hang(server, short_chain, tmp_path):
    argv = ('--stage', 'teacher', '--cfg-options', 'data.num_workers=1')
    run = server.start(short_chain.config, tmp_path / 'run', *argv, dead_worker=True)
    assert run.wait(60) == 1
    assert 'DataError: DataLoader worker' in run.message()
    assert 'lower data.num_workers' in run.message() and 'run the command again' in run.message()
    server.start(short_chain.config, tmp_path / 'run', *argv[:-1], 'data.num_workers=0').finish()


def test_a_stage_that_was_begun_with_another_config_is_refused(server, short_chain, cut_late, tmp_path):
    work_dir = tmp_path / 'run'
    shutil.copytree(cut_late, work_dir)
    changed = ('--cfg-options', 'stages.student.terms.isrd.loss_weight=0.5')
    run = server.start(short_chain.config, work_dir, *changed)
    assert run.wait() == 1
    assert 'ConfigError: stage student' in run.message() and 'begun with another config' in run.message()
    (work_dir / 'student/begun.json').unlink()  # what the message offers
    server.start(short_chain.config, work_dir, *changed).finish()
