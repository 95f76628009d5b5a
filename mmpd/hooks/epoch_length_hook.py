"""Resume where an epoch has another number of iterations than before (ours)."""

import logging
from typing import Any

from mmdet.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import EpochBasedTrainLoop, Runner

_RUNNING = ('last_step', '_global_step', '_last_value', 'base_values')


@HOOKS.register_module()
class EpochLengthHook(Hook):
    """Going on with 1 process after 2 (or with another batch size) doubles the iterations of an epoch.

    mmengine restores the iteration and each scheduler as they were: counted in the old iterations, a cosine over all
    epochs would end halfway. Here the epoch decides: the iteration becomes epochs × new length, and every schedule
    whose end moved with the epoch's length keeps its place in it. A warm-up counted in iterations stays as it is.
    The learning rate is not scaled with the batch: that is the config's `auto_scale_lr`.
    """

    priority = 'VERY_HIGH'

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Called before the Runner reads the counters in `checkpoint`; they are changed in place."""
        meta = checkpoint.get('meta') or {}
        epoch, iteration = meta.get('epoch'), meta.get('iter')
        if not runner._resume or not epoch or not iteration or not isinstance(runner.train_loop, EpochBasedTrainLoop):
            return
        length = len(runner.train_dataloader)
        if iteration == epoch * length:
            return
        print_log(
            f'An epoch had {iteration / epoch:g} iterations and has {length} now (number of processes, batch size or '
            f'data): going on at iteration {epoch * length}, schedules keep their place, the learning rate its value',
            'current',
            logging.WARNING,
        )
        meta['iter'] = epoch * length
        for scheduler, state in _pairs(runner.param_schedulers, checkpoint.get('param_schedulers')):
            _move(state, scheduler)


def _pairs(schedulers: Any, states: Any) -> list[tuple[Any, dict]]:
    """(scheduler, its saved state), of one optimizer's list or of a dict of such lists."""
    if isinstance(schedulers, dict):
        return [pair for name in schedulers for pair in _pairs(schedulers[name], (states or {}).get(name))]
    return list(zip(schedulers or [], states or [], strict=False))


def _move(state: dict, scheduler: Any) -> None:
    """Put a saved schedule at the same fraction of the new one; one whose end did not move is left alone."""
    own = scheduler.state_dict()
    before, after = state.get('end'), own.get('end')
    if not before or not after or before == after:
        return
    state.update({key: value for key, value in own.items() if key not in _RUNNING})
    for key in ('last_step', '_global_step'):
        state[key] = round(state[key] * after / before)
