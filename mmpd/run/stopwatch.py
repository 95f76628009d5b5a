"""CPU time, wall time and peak memory of parts that take turns, so that a busy machine hits all alike."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch

from ..errors import ConfigError
from ..paths import PACKAGE

Part = Callable[[], Any]
Key = TypeVar('Key')


@dataclass(frozen=True)
class Times:
    """Seconds an image: medians, and quartiles."""

    cpu: float
    cpu_quartiles: tuple[float, float]
    wall: float
    wall_quartiles: tuple[float, float]


def interleaved(parts: Mapping[Key, Part], rounds: int, images: int = 1, device: str = 'cpu') -> dict[Key, Times]:
    """Times an image of every part: one round runs each once; the first round warms up and does not count.

    Args:
        images: that a part works on.
    """
    seen: dict[Key, list[tuple[float, float]]] = {name: [] for name in parts}
    for round_ in range(rounds + 1):
        for name, run in parts.items():
            spent = spent_by(run, device)
            if round_:
                seen[name].append(spent)
    return {name: _times(np.array(spent) / images) for name, spent in seen.items()}


def spent_by(run: Part, device: str = 'cpu') -> tuple[float, float]:
    """CPU seconds of all threads of this process, and wall seconds."""
    cuda = device.startswith('cuda')
    if cuda:
        torch.cuda.synchronize()
    cpu, wall = time.process_time(), time.perf_counter()
    run()
    if cuda:
        torch.cuda.synchronize()
    return time.process_time() - cpu, time.perf_counter() - wall


def peak_mebibytes(run: Part, device: str = 'cpu') -> float:
    """Peak of the tensor memory that is allocated while a part runs, beyond what was there before."""
    if device.startswith('cuda'):
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        run()
    events = [event for event in profile.profiler.kineto_results.events() if event.name() == '[memory]']
    changes = np.array([event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())])
    return float(np.cumsum(changes).max()) / 2**20 if len(changes) else 0.0


def loader_rate(loader: Any, batch: int, batches: int = 12) -> dict[str, float]:
    """What the training loader, as the chain sets it, can give.

    Returns:
        images_per_second: by wall time, after the first batch. workers. cpu: seconds of one image in one process, so
        that n workers on idle cores give n / cpu images a second.
    """
    iterator = iter(loader)
    next(iterator)
    begin, seen = time.perf_counter(), 0
    for _ in zip(range(batches), iterator, strict=False):
        seen += 1
    seconds = time.perf_counter() - begin
    dataset = loader.dataset
    cpu = [spent_by(partial(dataset.__getitem__, index % len(dataset)))[0] for index in range(batches)]
    rate = seen * batch / seconds if seen else float('nan')
    return dict(images_per_second=rate, workers=loader.num_workers, cpu=float(np.median(cpu)))


def import_seconds() -> dict[str, float]:
    """CPU seconds of `import …` in a process of its own."""
    code = 'import time, {0}; print(time.process_time())'
    run = {
        name: subprocess.check_output([sys.executable, '-c', code.format(name)]) for name in ('torch', 'mmpd.register')
    }
    return {name: float(text) for name, text in run.items()}


FIRST = """
import os, sys, time
from mmengine.runner import Runner
def call(self, name, **kwargs):
    if name == 'after_train_iter':
        print('first iteration', time.process_time(), flush=True)
        os._exit(0)
    hooks(self, name, **kwargs)
hooks, Runner.call_hook = Runner.call_hook, call
from mmpd.cli import command
command('train')(sys.argv[1:])
"""


def first_iteration(words: Sequence[str]) -> dict[str, float]:
    """CPU and wall seconds from `mmpd train …` in an empty work dir to the end of its first iteration.

    Raises:
        ConfigError: it ended before, with the last of what it said.
    """
    path = os.pathsep.join(filter(None, [str(PACKAGE.parent), os.environ.get('PYTHONPATH')]))
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        process = subprocess.run(
            [sys.executable, '-c', FIRST, *words, '--work-dir', folder],
            capture_output=True,
            text=True,
            env={**os.environ, 'PYTHONPATH': path},
        )
    wall = time.perf_counter() - begin
    said = [line for line in process.stdout.splitlines() if line.startswith('first iteration ')]
    if not said:
        raise ConfigError(f'mmpd train {" ".join(words)} ended before an iteration: {process.stderr[-500:]}')
    return dict(cpu=float(said[0].split()[-1]), wall=wall)


def _times(spent: np.ndarray) -> Times:
    """(rounds, 2) CPU and wall seconds."""
    low, median, high = np.percentile(spent, [25, 50, 75], axis=0)
    return Times(float(median[0]), (float(low[0]), float(high[0])), float(median[1]), (float(low[1]), float(high[1])))
