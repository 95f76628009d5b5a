"""Counts what a chain run does, writes it down, and at one chosen moment lets something happen to the process.

A moment is named `<stage> <kind> <detail>`, e.g. `student iteration 3`, `teacher half-written epoch_1.pth`,
`assistant validation 2`. On one CPU thread with a fixed seed the sequence is the same in every run.
"""

import builtins
import errno
import json
import os
import resource
import signal
from pathlib import Path

ACTIONS = ('kill', 'stop', 'full disk')


class Tripwire:
    """
    Args:
        trace: file that gets one line per moment; None: nothing is written.
        at: number of the moment (from 1), or its name; None: never.
        action: 'kill' (SIGKILL), 'stop' (SIGSTOP), 'full disk' (from then on every checkpoint write fails half-way).
        probe: folder for what `observe` writes.
        file_limit: bytes beyond which no file may grow.
        dead_worker: the first data-loader worker that is asked for its third sample kills itself.
    """

    def __init__(self, trace=None, at=None, action='kill', probe=None, dead_worker=False, file_limit=None) -> None:
        assert action in ACTIONS
        self.trace = os.open(trace, os.O_CREAT | os.O_WRONLY | os.O_APPEND) if trace else None
        self.at = at
        self.action = action
        self.probe = probe
        self.dead_worker = dead_worker
        self.file_limit = file_limit
        self.count = 0
        self.stage = 'start'
        self.full = False

    def tick(self, kind: str, detail: object = '') -> None:
        self.count += 1
        name = f'{self.stage} {kind} {detail}'.strip()
        if self.trace is not None:
            os.write(self.trace, f'{name}\n'.encode())
        if self.at not in (self.count, name):
            return
        if self.action == 'full disk':
            self.full = True
        else:
            os.kill(os.getpid(), signal.SIGKILL if self.action == 'kill' else signal.SIGSTOP)

    def install(self) -> None:
        self._watch_stages()
        self._watch_files()
        if self.file_limit:
            resource.setrlimit(resource.RLIMIT_FSIZE, (self.file_limit, self.file_limit))
        if self.dead_worker:
            kill_worker()

    def _watch_stages(self) -> None:
        from mmpd.run import stages

        from mmengine.optim import OptimWrapper
        from mmengine.runner import Runner

        make, call_hook, update = stages.stage_config, Runner.call_hook, OptimWrapper.update_params

        def stage_config(stage, *args):
            self.stage = stage.name
            self.tick('between')
            return make(stage, *args)

        def hooked(runner, fn_name, **kwargs):
            if fn_name == 'after_val_iter':
                self.tick('validation', runner.epoch)
            if self.probe and fn_name in ('before_train_iter', 'after_train_iter', 'after_train'):
                observe(Path(self.probe), self.stage, runner, fn_name, kwargs)
            call_hook(runner, fn_name, **kwargs)
            if fn_name == 'after_train_iter':
                self.tick('iterated', runner.iter + 1)

        def update_params(wrapper, *args, **kwargs):
            self.tick('iteration')
            update(wrapper, *args, **kwargs)

        stages.stage_config, Runner.call_hook, OptimWrapper.update_params = stage_config, hooked, update_params

    def _watch_files(self) -> None:
        from mmpd.io import write as atomic

        replace, unlink = os.replace, Path.unlink

        def traced_open(path, mode='r', *args, **kwargs):
            file = builtins.open(path, mode, *args, **kwargs)  # noqa: SIM115  (closed by HalfWriter)
            return HalfWriter(file, self) if set(mode) & set('aw') else file

        def traced_replace(source, target):
            self.tick('written', Path(target).name)
            replace(source, target)
            self.tick('renamed', Path(target).name)

        def traced_unlink(path, *args, **kwargs):
            if path.suffix == '.pth':
                self.tick('deleting', path.name)
            unlink(path, *args, **kwargs)

        atomic.open = traced_open
        os.replace, Path.unlink = traced_replace, traced_unlink


class HalfWriter:
    """A file whose `write` has a moment in the middle."""

    def __init__(self, file, wire: Tripwire) -> None:
        self.file, self.wire = file, wire

    def __enter__(self):
        return self

    def __exit__(self, *error) -> None:
        self.file.close()

    def write(self, data) -> None:
        half = len(data) // 2
        self.file.write(data[:half])
        self.file.flush()
        self.wire.tick('half-written', Path(self.file.name).name.removeprefix('.').removesuffix('.tmp'))
        if self.wire.full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.file.write(data[half:])

    def __getattr__(self, name):
        return getattr(self.file, name)


def observe(folder: Path, stage: str, runner, fn_name: str, kwargs: dict) -> None:
    """What each rank computed: losses and images per iteration, the first weights, and its guide at the end."""
    from mmpd.io.read import load_checkpoint, model_state

    import torch
    from mmengine.model import is_model_wrapper

    wrapped = is_model_wrapper(runner.model)
    model = runner.model.module if wrapped else runner.model
    if fn_name == 'before_train_iter':
        if runner.iter == 0:
            torch.save(model.state_dict(), folder / f'{stage}_first_rank{runner.rank}.pth')
        return
    record = dict(stage=stage, rank=runner.rank, what=fn_name)
    if fn_name == 'after_train_iter':
        record['epoch'] = runner.epoch
        record['images'] = [sample.img_id for sample in kwargs['data_batch']['data_samples']]
        record['losses'] = {name: float(value) for name, value in kwargs['outputs'].items()}
    else:
        record['find_unused'] = getattr(runner.model, 'find_unused_parameters', None) if wrapped else None
        if hasattr(model, 'guide'):
            file = model_state(load_checkpoint(model.frozen.checkpoint))
            own = model.guide.state_dict()
            record['guide_is_file'] = all(torch.equal(own[key], value) for key, value in file.items())
            record['weights'] = float(sum(value.double().abs().sum() for value in model.state_dict().values()))
    with open(folder / f'rank{runner.rank}.jsonl', 'a') as file:
        file.write(json.dumps(record) + '\n')


def kill_worker() -> None:
    """SIGKILL, as the kernel's out-of-memory killer sends it, inside a data-loader worker."""
    from mmpd.data.voc.dataset import PDVOCDataset

    from torch.utils.data import get_worker_info

    load, asked = PDVOCDataset.__getitem__, []

    def get(dataset, index):
        if get_worker_info() is not None:
            asked.append(index)
            if len(asked) == 3:
                os.kill(os.getpid(), signal.SIGKILL)
        return load(dataset, index)

    PDVOCDataset.__getitem__ = get
