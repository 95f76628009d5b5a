"""Start chain runs from a test through `tests/faults/server.py`, cut them, and compare what they leave."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmpd.io.read import load_checkpoint

import torch

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 300.0  # seconds until a run counts as hanging


@dataclass
class ChainRun:
    """One process of `tools/train.py`."""

    server: 'ChainServer'
    pid: int
    log: Path
    trace: Path

    def wait(self, seconds: float = PATIENCE) -> int:
        """Exit status; negative: the signal that ended it. Fails where it hangs."""
        code = self.server.ask(wait=self.pid, seconds=seconds)
        if code is None:
            os.kill(self.pid, signal.SIGKILL)
            self.server.ask(wait=self.pid, seconds=10)
            raise AssertionError(f'still running after {seconds} s:\n{self.output()[-3000:]}')
        return code

    def finish(self) -> 'ChainRun':
        """Wait for success."""
        code = self.wait()
        assert code == 0, f'exit status {code}:\n{self.output()[-4000:]}'
        return self

    def output(self) -> str:
        return self.log.read_text(errors='replace') if self.log.exists() else ''

    def message(self) -> str:
        """The output as one line of words, however it was wrapped."""
        return ' '.join(self.output().split())

    def wait_for(self, moment: str, seconds: float = PATIENCE) -> None:
        """Until the run has come to `moment`."""
        end = time.monotonic() + seconds
        while moment not in self.moments():
            assert time.monotonic() < end, f'never came to {moment}:\n{self.output()[-3000:]}'
            time.sleep(0.02)

    def moments(self) -> list[str]:
        return self.trace.read_text().splitlines() if self.trace.exists() else []


@dataclass
class UncutChain:
    """A chain that nothing interrupted: its config file, its work dir, and its moments in order."""

    config: Path
    work_dir: Path
    moments: list[str]
    epochs: int


class ChainServer:
    """The forking process. `start` returns at once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.number = 0
        self.ready = False
        environment = {**os.environ, 'OMP_NUM_THREADS': '1', 'PYTHONPATH': str(ROOT)}
        self.process = subprocess.Popen(
            [sys.executable, '-m', 'tests.faults.server'],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=open(folder / 'server.log', 'w'),  # noqa: SIM115  (the process's own)
            text=True,
            cwd=ROOT,
            env=environment,
        )

    def ask(self, **request: Any) -> Any:
        assert self.process.stdin and self.process.stdout
        if not self.ready:
            ready = self.process.stdout.readline()
            assert ready == 'ready\n', (self.folder / 'server.log').read_text()[-3000:]
            self.ready = True
        self.process.stdin.write(json.dumps(request) + '\n')
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def start(
        self,
        config: Path,
        work_dir: Path,
        *argv: str,
        env: dict[str, str] | None = None,
        **wire: Any,
    ) -> ChainRun:
        """`tools/train.py CONFIG --work-dir WORK_DIR ARGV…` with a `Tripwire(**wire)`."""
        self.number += 1
        log = self.folder / f'run{self.number}.log'
        trace = self.folder / f'run{self.number}.trace'
        wire = {**wire, 'trace': str(trace)}
        argv = (str(config), '--work-dir', str(work_dir), '--no-check', '--no-report', *argv)
        pid = self.ask(argv=argv, log=str(log), env=env or {}, wire=wire)
        return ChainRun(self, pid, log, trace)

    def start_ranks(self, config: Path, work_dir: Path, *argv: str, wires: Sequence[dict] = ({}, {})) -> list[ChainRun]:
        """One process per wire, as torchrun would start them on one machine."""
        with socket.socket() as free:
            free.bind(('127.0.0.1', 0))
            port = str(free.getsockname()[1])
        common = dict(WORLD_SIZE=str(len(wires)), MASTER_ADDR='127.0.0.1', MASTER_PORT=port)
        return [
            self.start(
                config,
                work_dir,
                '--launcher',
                'pytorch',
                *argv,
                env={**common, 'RANK': str(rank), 'LOCAL_RANK': str(rank)},
                **wire,
            )
            for rank, wire in enumerate(wires)
        ]

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait(60)  # a busy machine needs more than 10 s to leave


def plain_weights(work_dir: Path) -> dict[str, dict[str, torch.Tensor]]:
    """`<stage>/<stage>_best.pth` and `_last.pth` of every stage."""
    files = sorted([*work_dir.glob('*/*_best.pth'), *work_dir.glob('*/*_last.pth')])
    return {f'{path.parent.name}/{path.name}': load_checkpoint(path)['state_dict'] for path in files}


def differences(left: Path, right: Path) -> list[str]:
    """Plain weights files and tensors in which two finished chains differ by a single bit."""
    a, b = plain_weights(left), plain_weights(right)
    assert a, f'no weights in {left}'
    wrong = [f'{name}: only in one of them' for name in a.keys() ^ b.keys()]
    for name in a.keys() & b.keys():
        wrong += [f'{name}: {key}: only in one of them' for key in a[name].keys() ^ b[name].keys()]
        wrong += [
            f'{name}: {key}' for key in a[name].keys() & b[name].keys() if not torch.equal(a[name][key], b[name][key])
        ]
    return wrong
