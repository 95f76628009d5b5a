"""Run the stages of a chain in order: hand the best checkpoint on, skip what is finished, resume what was cut."""

from __future__ import annotations

import hashlib
import json
import os
import time
from contextlib import nullcontext
from pathlib import Path

from mmengine.config import Config
from mmengine.dist import barrier
from mmengine.runner import Runner
from rich.console import Console

from .chain import Chain, bench_config, deploy_config, needed_stages, stage_config
from .checkpoint import latest_intact, write_atomic
from .errors import CheckpointError, ConfigError
from .lock import WorkDirLock

console = Console(highlight=False)


def run_stages(
    chain: Chain, work_dir: str | Path, only: str | None = None, launcher: str = 'none', announce: bool = True
) -> dict[str, str]:
    """Train every stage of a chain that is not finished yet.

    Args:
        work_dir: each stage writes to `<work_dir>/<stage>/`.
        only: train this stage alone; the stages that it needs must be finished.
        launcher: 'none', 'pytorch', 'slurm' or 'mpi', as mmengine has them.

    Returns:
        stage → file with its plain weights.

    Raises:
        ConfigError: `only` is no stage, a stage it needs is not finished, or a finished stage was trained with another
            config.
    """
    if only is not None and only not in chain.stages:
        raise ConfigError(f'--stage {only}: the stages of this chain are {list(chain.stages)}')
    work_dir = Path(work_dir)
    names = list(chain.stages)
    checkpoints: dict[str, str] = {}
    rank = int(os.environ.get('RANK', os.environ.get('SLURM_PROCID', 0)))
    with WorkDirLock(work_dir) if rank == 0 else nullcontext():
        for index, name in enumerate(names):
            given = chain.stages[name].get('checkpoint')
            if given:
                if not Path(given).is_file():
                    raise CheckpointError(f'stages.{name}.checkpoint = {given!r}: no such file')
                checkpoints[name] = str(given)
                _say(announce and rank == 0, f'stage {index + 1}/{len(names)} {name}: given, {given}')
                continue
            if only is not None and name != only:
                finished = finished_checkpoint(work_dir / name)
                if finished:
                    checkpoints[name] = finished
                continue
            missing = [needed for needed in needed_stages(chain, name) if needed not in checkpoints]
            if missing:
                raise ConfigError(
                    f'stage {name} needs {missing}, not finished in {work_dir}: run without --stage, or give '
                    f'stages.{missing[0]}.checkpoint'
                )
            config = stage_config(chain, name, work_dir, checkpoints)
            checkpoints[name] = _run_stage(
                chain, name, config, launcher, f'{index + 1}/{len(names)}', announce and rank == 0
            )
    return checkpoints


def _run_stage(chain: Chain, name: str, config: Config, launcher: str, place: str, announce: bool) -> str:
    folder = Path(config.work_dir)
    hashed = fingerprint(config)
    finished = finished_checkpoint(folder)
    if finished:
        done = json.loads((folder / 'done.json').read_text())
        if done['fingerprint'] != hashed:
            raise ConfigError(
                f'stage {name} in {folder} was finished with another config (compare {folder / (name + ".py")}): use '
                f'another --work-dir, or remove {folder} to train it again'
            )
        _say(announce, f'stage {place} {name}: finished before, {finished}')
        return finished
    resume_from = latest_intact(folder)
    if announce:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(config.pretty_text.encode(), folder / f'{name}.py')
        write_atomic(deploy_config(chain, name).pretty_text.encode(), folder / 'deploy.py')
        write_atomic(bench_config(chain, name).pretty_text.encode(), folder / 'bench.py')
    how = f'resuming from {resume_from.name}' if resume_from else 'starting'
    _say(announce, f'stage {place} {name}: {how}, {config.train_cfg.max_epochs} epochs, in {folder}')
    begin = time.time()
    runner = train(config, launcher, str(resume_from) if resume_from else None, experiment=name)
    best = folder / f'{name}_best.pth'
    weights = best if best.is_file() else folder / f'{name}_last.pth'
    hub = runner.message_hub
    score = float(hub.get_info('best_score')) if 'best_score' in hub.runtime_info else None
    if announce:
        done = dict(
            stage=name,
            checkpoint=weights.name,
            fingerprint=hashed,
            best_score=score,
            epochs=runner.epoch,
            seconds=round(time.time() - begin, 1),
        )
        write_atomic(json.dumps(done, indent=1).encode(), folder / 'done.json')
    barrier()
    shown = '' if score is None else f', best {config.default_hooks.checkpoint.save_best} {score:.3f}'
    _say(announce, f'stage {place} {name}: finished in {time.time() - begin:.0f} s{shown}')
    return str(weights)


def train(config: Config, launcher: str = 'none', resume_from: str | None = None, experiment: str = 'run') -> Runner:
    """Train one ordinary mmengine config. `resume_from` is a Runner checkpoint or None."""
    config = Config(config.to_dict())
    config.launcher = launcher
    config.load_from, config.resume = resume_from, resume_from is not None
    config.setdefault('experiment_name', f'{experiment}_{time.time_ns()}')
    runner = Runner.from_cfg(config)
    runner.train()
    return runner


def finished_checkpoint(folder: Path) -> str | None:
    """Plain weights of a finished stage, or None where the stage is not finished."""
    try:
        done = json.loads((folder / 'done.json').read_text())
    except (OSError, ValueError):
        return None
    weights = folder / done['checkpoint']
    return str(weights) if weights.is_file() else None


def fingerprint(config: Config) -> str:
    """Hash of what decides a stage's result. Paths of its own work dir do not count, so a chain can be moved."""
    content = config.to_dict()
    content.pop('work_dir', None)
    text = json.dumps(content, sort_keys=True, default=str).replace(str(Path(config.work_dir).parent), '')
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _say(announce: bool, text: str) -> None:
    if announce:
        console.print(f'[bold]mmpd[/bold] {text}')
