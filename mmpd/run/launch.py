"""Join the processes of a launcher, on GPUs or on CPUs, and let rank 0 decide what all of them do (ours)."""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from mmengine.dist import broadcast_object_list, get_rank, init_dist, is_distributed

from ..errors import ConfigError

T = TypeVar('T')

# What each launcher calls (rank, number of processes, rank on this machine).
_VARIABLES = {
    'pytorch': ('RANK', 'WORLD_SIZE', 'LOCAL_RANK'),
    'slurm': ('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_LOCALID'),
    'mpi': ('OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_SIZE', 'OMPI_COMM_WORLD_LOCAL_RANK'),
}


def launched_rank(launcher: str) -> int:
    """Rank of this process as its launcher numbers it; it need not have joined the others. 0 without a launcher.

    Raises:
        ConfigError: the launcher's variables are not set, or torchrun's are and `launcher` is 'none': each of its
            processes would train the whole chain, into the same files.
    """
    if launcher == 'none':
        world = os.environ.get('WORLD_SIZE', '1')
        if world != '1' and 'RANK' in os.environ and not is_distributed():
            raise ConfigError(f'--launcher none, but torchrun started {world} processes: add --launcher pytorch')
        return 0
    if launcher not in _VARIABLES:
        raise ConfigError(f'--launcher {launcher}: use one of {["none", *_VARIABLES]}')
    variable = _VARIABLES[launcher][0]
    if variable not in os.environ:
        how = {'pytorch': 'torchrun', 'slurm': 'srun', 'mpi': 'mpirun'}[launcher]
        raise ConfigError(f'--launcher {launcher}, but {variable} is not set: start with {how} (docs/distributed.md)')
    return int(os.environ[variable])


def join(launcher: str, backend: str | None = None, timeout: float | None = None, **kwargs: Any) -> None:
    """Join the other processes. Nothing without a launcher, or where they have met already.

    mmengine's `init_dist` wants a CUDA device for every launcher; without one the processes meet here, over gloo.

    Args:
        backend, timeout (seconds), kwargs: `env_cfg.dist_cfg` of the config.
    """
    if launcher == 'none' or is_distributed():
        return
    if timeout is not None:
        kwargs['timeout'] = timeout
    if torch.cuda.is_available():
        init_dist(launcher, backend=backend or 'nccl', **kwargs)
        return
    for name, variable in zip(('RANK', 'WORLD_SIZE', 'LOCAL_RANK'), _VARIABLES[launcher], strict=True):
        if variable in os.environ:
            os.environ[name] = os.environ[variable]
    os.environ.setdefault('MASTER_ADDR', '127.0.0.1')
    os.environ.setdefault('MASTER_PORT', '29500')
    limit: dict[str, Any] = {} if timeout is None else {'timeout': datetime.timedelta(seconds=timeout)}
    torch.distributed.init_process_group(backend='gloo', **limit)


def model_wrapper() -> dict | None:
    """`model_wrapper_cfg` for DDP without a GPU: mmengine's default names a device, which torch refuses on a CPU."""
    if not is_distributed() or torch.cuda.is_available():
        return None
    return dict(type='MMDistributedDataParallel', device_ids=None, broadcast_buffers=False)


def from_rank_0(decide: Callable[[], T]) -> T:
    """What `decide` returns on rank 0, on every rank.

    Ranks that each look at the disk may see different things: rank 0 writes there, and a shared one lags.
    """
    answer = [decide() if get_rank() == 0 else None]
    broadcast_object_list(answer, src=0)
    return answer[0]  # type: ignore[return-value]
