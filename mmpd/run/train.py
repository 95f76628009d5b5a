"""Train one ordinary mmengine config."""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from typing import Any

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ..errors import DataError
from .launch import model_wrapper
from .live import QuietRunner, Show, training_line
from .tensorboard import add_tensorboard


def train(
    config: Config,
    launcher: str = 'none',
    resume_from: str | None = None,
    experiment: str = 'run',
    longer: bool = False,
    show: Show = Show(),  # noqa: B008 (frozen)
) -> Runner:
    """Train one ordinary mmengine config.

    Args:
        resume_from: a Runner checkpoint, or None.
        longer: it was trained with a shorter schedule, so its schedulers' state is not for this one.
        show: on the console, and for TensorBoard.

    Raises:
        DataError: a data-loader worker died.
    """
    config = Config(config.to_dict())
    config.launcher = launcher
    wrapper = model_wrapper()
    if wrapper:
        config.setdefault('model_wrapper_cfg', wrapper)
    config.load_from, config.resume = resume_from, resume_from is not None
    hooks: list[Hook] = [add_tensorboard(config)] if show.tensorboard else []
    if config.get('visualizer'):  # a named one is one global instance: student's curves would go to the teacher's file
        config.visualizer.name = f'{experiment}_{time.time_ns()}'
    config.setdefault('experiment_name', f'{experiment}_{time.time_ns()}')
    if show.verbose:
        return _train(Runner.from_cfg(config), longer, hooks)
    with training_line(experiment) as line:
        return _train(QuietRunner.from_cfg(config), longer, [*hooks, *([line] if line else [])])


def _train(runner: Runner, longer: bool, hooks: Sequence[Hook]) -> Runner:
    for hook in hooks:
        runner.register_hook(hook)
    if longer:
        _resume_with_new_schedule(runner)
    try:
        runner.train()
    except RuntimeError as error:
        if 'DataLoader worker' not in str(error):
            raise
        raise DataError(
            f'{error} The usual cause is memory: lower data.num_workers (results stay the same), or give the '
            'container more shared memory. No checkpoint was lost: run the command again.'
        ) from error
    return runner


def _resume_with_new_schedule(runner: Runner) -> None:
    """Let a runner resume weights and optimiser state, and take the learning rate that its own schedule has there.

    A scheduler's saved state holds the length of its old schedule, at whose end the rate has fallen to nothing.
    """
    resume = runner.resume

    def resumed(filename: str, **kwargs: Any) -> None:
        resume(filename, **{**kwargs, 'resume_param_scheduler': False})
        for group in runner.optim_wrapper.param_groups:
            group['lr'] = group.get('initial_lr', group['lr'])
        schedulers = runner.build_param_scheduler(copy.deepcopy(runner.cfg.get('param_scheduler') or []))
        for by_epoch, steps in ((False, runner.iter), (True, runner.epoch)):
            for _ in range(steps):
                for scheduler in schedulers:
                    if scheduler.by_epoch == by_epoch:
                        scheduler.step()
        runner.param_schedulers = schedulers

    runner.resume = resumed
