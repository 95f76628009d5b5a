"""What a chain must know of its task: pipelines, dataloaders and metrics (the contract, and who fulfils it).

Another task is one class with the same methods, registered in TASKS; the core has no other branch for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmengine.registry import Registry

from ..errors import ConfigError

if TYPE_CHECKING:
    from .chain import Chain

TASKS = Registry('task of a chain', locations=['mmpd.register'])


def task_of(chain: Chain) -> Any:
    """The task of a chain: `task = 'detection'` unless it says otherwise."""
    return task_named(chain.config.get('task', 'detection'))


def task_named(name: str) -> Any:
    """The task of that name. Raises ConfigError where there is none."""
    if name not in TASKS:
        raise ConfigError(f'task = {name!r} is unknown: use one of {sorted(TASKS.module_dict)}')
    return TASKS.get(name)()
