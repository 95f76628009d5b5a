"""Train one ordinary mmengine config."""

from __future__ import annotations

import time

from mmengine.config import Config
from mmengine.runner import Runner

from ..errors import DataError
from .launch import model_wrapper


def train(config: Config, launcher: str = 'none', resume_from: str | None = None, experiment: str = 'run') -> Runner:
    """Train one ordinary mmengine config. `resume_from` is a Runner checkpoint or None.

    Raises:
        DataError: a data-loader worker died.
    """
    config = Config(config.to_dict())
    config.launcher = launcher
    wrapper = model_wrapper()
    if wrapper:
        config.setdefault('model_wrapper_cfg', wrapper)
    config.load_from, config.resume = resume_from, resume_from is not None
    if config.get(
        'visualizer'
    ):  # a named one is one global instance: a student's curves would go to its teacher's file
        config.visualizer.name = f'{experiment}_{time.time_ns()}'
    config.setdefault('experiment_name', f'{experiment}_{time.time_ns()}')
    runner = Runner.from_cfg(config)
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
