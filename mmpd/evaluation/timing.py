"""Measured latency of a network's forward pass on one image, on this machine."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..errors import ConfigError

WARM_UP = 3


@dataclass(frozen=True)
class Timing:
    """Milliseconds of one image, `repeats` runs with `threads` CPU threads.

    Attributes:
        median, p95: by the clock on the wall; other processes that want the cores are in it.
        processor: median of what the processors worked for it, all threads together.
    """

    runtime: str
    median: float
    p95: float
    processor: float
    threads: int
    repeats: int

    @property
    def latency(self) -> float:
        """What a budget counts: one thread on a CPU needs its processor time, whatever else the machine does; of
        several threads, or a GPU, only the clock knows."""
        return self.processor if self.threads == 1 and self.runtime != 'cuda' else self.median


def time_networks(
    networks: Sequence[tuple[Any, tuple[int, int]]], runtime: str, threads: int, repeats: int
) -> list[Timing]:
    """Time one inference of each network, from a uint8 image to boxes after NMS, on noise of its size.

    The networks take turns, so that whatever else the machine does slows all of them alike. A network without trained
    weights finds nothing, so its NMS has nothing to do: the time is that of the layers.

    Args:
        networks: (detector in eval, (width, height) of its padded image).
        runtime: 'cpu' and 'cuda' run torch; 'onnx' exports to a temporary file and runs ONNX Runtime on the CPU.

    Raises:
        ConfigError: there is no such device, or a network cannot be exported.
    """
    with contextlib.ExitStack() as stack:
        runs = [stack.enter_context(_ready(net, size, runtime, threads)) for net, size in networks]
        seconds: list[list[tuple[float, float]]] = [[] for _ in runs]
        for turn in range(WARM_UP + repeats):
            for run, mine in zip(runs, seconds, strict=True):
                wall, processor = time.perf_counter(), time.process_time()
                run()
                if turn >= WARM_UP:
                    mine.append((time.perf_counter() - wall, time.process_time() - processor))
    timings = []
    for mine in seconds:
        walls, processors = 1000 * np.array(mine).T
        median, p95 = np.percentile(walls, (50, 95))
        timings.append(Timing(runtime, float(median), float(p95), float(np.median(processors)), threads, repeats))
    return timings


def busy() -> str | None:
    """A warning where other processes want the machine's cores, which makes every time too long."""
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    if load < 0.5 * cores:
        return None
    return f'The machine is busy (load {load:.1f} on {cores} cores): times are longer than on an idle one'


@contextlib.contextmanager
def _ready(net: Any, size: tuple[int, int], runtime: str, threads: int) -> Iterator[Callable[[], Any]]:
    image = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    if runtime == 'onnx':
        from ..runtime.backends import OnnxBackend

        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / 'network.onnx'
            _write_onnx(net, size, file)
            backend = OnnxBackend(file, threads)
            yield lambda: backend([image])
        return
    if runtime == 'cuda' and not torch.cuda.is_available():
        raise ConfigError('--time cuda: torch finds no CUDA device here')
    from .predict import TorchBackend

    with limited(threads):
        try:
            torch_backend = TorchBackend(net.to(runtime))

            def run() -> None:
                torch_backend([image])  # its boxes come to the CPU, so the device has finished

            yield run
        finally:
            net.to('cpu')


@contextlib.contextmanager
def limited(threads: int) -> Iterator[None]:
    """torch computes on so many threads while the block runs."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _write_onnx(net: Any, size: tuple[int, int], file: Path) -> None:
    from ..io.onnx_file import write_onnx
    from ..runtime.description import Description

    nobody = Description('network', (), size, None, '1', 'area', 0.0, 1.0, 1, fixed=size)
    write_onnx(net, nobody, file, simplify=False)
