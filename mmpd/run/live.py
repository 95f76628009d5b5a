"""What a training shows: one line that is kept up to date, in place of the log, which goes to its file."""

from __future__ import annotations

import importlib.util
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from mmengine.dist import is_main_process
from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer
from mmengine.logging.logger import MMFormatter
from mmengine.runner import Runner
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Column

from ..errors import ConfigError

EVERY = 30.0
"""Seconds between two lines where the output is no terminal."""
WINDOW = 20
"""Iterations over which shown losses are averaged."""


@dataclass(frozen=True)
class Show:
    """What a training shows. verbose: its log on the console, in place of one line. tensorboard: curves and pictures
    for TensorBoard, in the folder of the log.

    Raises:
        ConfigError: tensorboard is not installed.
    """

    verbose: bool = False
    tensorboard: bool = False

    def __post_init__(self) -> None:
        if self.tensorboard and not any(importlib.util.find_spec(name) for name in ('tensorboard', 'tensorboardX')):
            raise ConfigError("--tensorboard: tensorboard is not installed: pip install 'mmpd[tensorboard]'")


class QuietRunner(Runner):
    """A Runner that tells the console warnings and errors only. Its log file holds everything, as any Runner's."""

    def build_logger(self, *args: Any, **kwargs: Any) -> logging.Logger:
        logger = super().build_logger(*args, **kwargs)
        for handler in logger.handlers:
            if isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler):
                handler.setLevel(max(handler.level, logging.WARNING))
                handler.addFilter(_not_of_mmengine_about_itself)
                if not Console().is_terminal:
                    handler.setFormatter(MMFormatter(color=False, datefmt='%m/%d %H:%M:%S'))
        return logger


def _not_of_mmengine_about_itself(record: logging.LogRecord) -> bool:
    """Its warnings of its own old names, which come with every training and which no user can act on."""
    return 'will be deprecated in future' not in record.getMessage()


@contextmanager
def training_line(name: str, console: Console | None = None) -> Iterator[LineHook | None]:
    """A hook for the Runner of one training, which is to be built inside the block; None on ranks but the first.

    In a terminal one line is drawn over and over, what else is printed stands above it, and it goes at the end;
    elsewhere (a file, CI) a line is printed every `EVERY` seconds, without control characters.

    Args:
        name: what is trained. console: default: the standard output.
    """
    if not is_main_process():
        yield None
        return
    console = console or Console(highlight=False)
    if not console.is_terminal:
        yield LineHook(lambda _, text: console.print(f'{name}: {text}', markup=False, soft_wrap=True), EVERY)
        return
    # what is too long loses its end, and nothing else shrinks
    text = Column(no_wrap=True, overflow='ellipsis', ratio=1)
    bar = Progress(
        TextColumn('[bold]{task.description}[/bold]', table_column=Column(no_wrap=True, min_width=len(name))),
        BarColumn(12, table_column=Column(min_width=12)),
        TextColumn('{task.fields[text]}', table_column=text, markup=False),
        console=console,
        transient=True,
        expand=True,
    )
    task = bar.add_task(name, total=1.0, text='preparing')
    with bar:
        yield LineHook(lambda share, text: bar.update(task, completed=share, text=text), 0.3)


class LineHook(Hook):
    """Tells how far a training is: time left, the last and the best value of what chooses the checkpoint, losses.

    Args:
        show: called with the share that is done, in [0, 1], and the text. every: least seconds between two calls.
    """

    priority = 'LOWEST'

    def __init__(self, show: Callable[[float, str], None], every: float) -> None:
        self.show, self.every = show, every
        self.last: float | None = None
        self.shown = self.begin = time.monotonic()
        self.first = 0

    def before_train(self, runner: Runner) -> None:
        self.begin, self.first = time.monotonic(), runner.iter

    def after_train_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        if time.monotonic() - self.shown >= self.every:
            self._show(runner, runner.iter + 1)

    def before_val(self, runner: Runner) -> None:
        if time.monotonic() - self.shown >= self.every:
            self._show(runner, runner.iter, 'validating')

    def after_val_epoch(self, runner: Runner, metrics: Mapping[str, float] | None = None) -> None:
        value = (metrics or {}).get(_chosen_by(runner))
        self.last = self.last if value is None else float(value)

    def _show(self, runner: Runner, done: int, doing: str = '') -> None:
        self.shown = now = time.monotonic()
        total = max(runner.max_iters, 1)
        parts = [f'epoch {min(runner.epoch + 1, runner.max_epochs)}/{runner.max_epochs}, {done / total:.0%}']
        if done > self.first:
            parts.append(f'{clock((now - self.begin) / (done - self.first) * (total - done))} left')
        if doing:
            parts.append(doing)
        best = runner.message_hub.runtime_info.get('best_score')
        if self.last is not None:
            parts.append(f'{_chosen_by(runner).rpartition("/")[2]} {self.last:.3f}')
        if best is not None:
            parts.append(f'best {float(best):.3f}')
        self.show(done / total, ', '.join([*parts, *_losses(runner.message_hub.log_scalars)]))


def _chosen_by(runner: Runner) -> str:
    return str(runner.cfg.get('default_hooks', {}).get('checkpoint', {}).get('save_best'))


def _losses(scalars: Mapping[str, HistoryBuffer]) -> list[str]:
    """'loss 1.23' and each part of it, of the last iterations."""
    means = {
        key.removeprefix('train/'): float(scalars[key].mean(WINDOW)) for key in scalars if key.startswith('train/loss')
    }
    total = [f'loss {means.pop("loss"):.3g}'] if 'loss' in means else []
    parts = ' '.join(f'{name.removeprefix("loss_")} {value:.2g}' for name, value in means.items())
    return [*total, *([parts] if parts else [])]


def clock(seconds: float) -> str:
    """'4:10' of minutes and seconds, '2:04:10' from an hour on."""
    minutes, rest = divmod(int(seconds), 60)
    return f'{minutes}:{rest:02d}' if minutes < 60 else f'{minutes // 60}:{minutes % 60:02d}:{rest:02d}'
