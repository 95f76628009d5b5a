"""Tell whoever listens how far the running training or test is. Without a listener it does nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmdet.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.runner import Runner

Listener = Callable[[str, str, int, int], None]
"""Called after each iteration with (name of the work dir: the stage, 'train' or 'test', iterations done, in all)."""

_listeners: list[Listener] = []


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Call `listener` after each iteration of every Runner with a `ProgressHook`, while the block runs."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


@HOOKS.register_module()
class ProgressHook(Hook):
    """Reports to the listeners. The state is the Runner's own, so a resumed run starts where it was cut."""

    priority = 'VERY_LOW'

    def after_train_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        _tell(runner, 'train', runner.iter + 1, runner.max_iters)

    def after_test_iter(self, runner: Runner, batch_idx: int, *args: Any, **kwargs: Any) -> None:
        _tell(runner, 'test', batch_idx + 1, len(runner.test_dataloader))


def _tell(runner: Runner, mode: str, done: int, total: int) -> None:
    for listener in _listeners:
        listener(Path(runner.work_dir).name, mode, done, total)
