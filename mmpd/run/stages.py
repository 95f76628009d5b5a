"""Run the stages of a chain in order: hand the best checkpoint on, skip what is finished, resume what was cut."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import barrier, is_main_process
from rich.console import Console
from rich.markup import escape

from ..chain.chain import Chain
from ..chain.deploy import bench_config, deploy_config
from ..chain.stage import Stage
from ..chain.stage_config import stage_config
from ..check.preflight import preflight
from ..errors import CheckpointError, ConfigError
from ..io.deploy_folder import describe_stage
from ..io.urls import load_url_checkpoint
from ..io.write import write_atomic
from ..nested import walk_dicts
from .fingerprint import fingerprint, labels_hash
from .launch import from_rank_0, join, launched_rank
from .live import Show
from .lock import WorkDirLock
from .state import State, begin, finished_checkpoint, state_of
from .train import train

console = Console(highlight=False, soft_wrap=True)


def run_stages(
    chain: Chain,
    work_dir: str | Path,
    only: str | None = None,
    launcher: str = 'none',
    announce: bool = True,
    check: bool = False,
    show: Show = Show(),  # noqa: B008 (frozen)
) -> dict[str, str]:
    """Train every stage of a chain that is not finished yet.

    Args:
        work_dir: each stage writes to `<work_dir>/<stage>/`.
        only: train this stage alone; the stages that it needs must be finished.
        launcher: 'none', 'pytorch', 'slurm' or 'mpi', as mmengine has them.
        announce: print what happens (rank 0).
        check: preflight on rank 0: all stages before the first one starts, and each again when its guide is trained.
        show: what each training shows.

    Returns:
        stage → file with its plain weights.

    Raises:
        ConfigError: `only` is no stage, a stage it needs is not finished, or a stage was finished or begun with
            another config; or the preflight found an error.
    """
    labels_hash.cache_clear()
    asked = list(chain.stages.values()) if only is None else [chain.stage(only), *chain.stage(only).needs]
    _check_files(asked)
    work_dir = Path(work_dir)
    checkpoints: dict[str, str] = {}
    with ExitStack() as locks:
        if launched_rank(launcher) == 0:  # first: a second run is refused before its processes wait for each other
            for folder in _folders_to_lock(chain, work_dir, only):
                locks.enter_context(WorkDirLock(folder))
        join(launcher, **chain.config.get('env_cfg', {}).get('dist_cfg', {}))
        if check and only is None:
            from_rank_0(lambda: _check_unfinished(chain, work_dir))
        for index, stage in enumerate(chain.stages.values()):
            place = f'stage {index + 1}/{len(chain.stages)} {stage.name}'
            say = _speaker(announce, place)
            if stage.given:
                weights: str | None = stage.given
                say(f'given, {weights}')
            elif only in (None, stage.name):
                config = stage_config(stage, work_dir, _needed(stage, checkpoints, work_dir))
                check_again = check and (stage.guide is not None or only is not None)
                weights = _run_stage(stage, config, launcher, say, checkpoints, check_again, show)
            else:
                weights = from_rank_0(lambda stage=stage: finished_checkpoint(work_dir / stage.name))  # type: ignore[misc]
            if weights:
                checkpoints[stage.name] = weights
    return checkpoints


def _folders_to_lock(chain: Chain, work_dir: Path, only: str | None) -> list[Path]:
    """One lock a stage, so that different stages can train at once with `only`."""
    if only:
        return [work_dir / only]
    return [work_dir, *(work_dir / stage.name for stage in chain.stages.values() if not stage.given)]


def _needed(stage: Stage, checkpoints: dict[str, str], work_dir: Path) -> dict[str, str]:
    """`checkpoints`, if it has all that a stage needs. Raises ConfigError."""
    missing = [needed.name for needed in stage.needs if needed.name not in checkpoints]
    if missing:
        raise ConfigError(
            f'stage {stage.name} needs {missing}, not finished in {work_dir}: run without --stage, or give '
            f'stages.{missing[0]}.checkpoint'
        )
    return checkpoints


def _check_files(stages: Sequence[Stage]) -> None:
    """Files that stages are given or start from: a missing one would stop a later stage after hours.

    Raises:
        CheckpointError: naming the key.
    """
    for stage in stages:
        start = stage.init_from if isinstance(stage.init_from, str) else None
        for key, file in (('checkpoint', stage.given), ('init_from', start)):
            if file and '://' in file:
                load_url_checkpoint(file)
            elif file and not Path(file).is_file():
                raise CheckpointError(f'stages.{stage.name}.{key} = {file!r}: no such file')


def _check_unfinished(chain: Chain, work_dir: Path) -> None:
    """Preflight of every stage still to be trained; their guides may have no weights yet.

    Pretrained weights are fetched now: without them a later stage would stop after hours.
    """
    finished = {name: finished_checkpoint(work_dir / name) for name in chain.stages}
    todo = [stage for name, stage in chain.stages.items() if not finished[name] and not stage.given]
    inits = [part for stage in todo for part in walk_dicts(stage.network) if part.get('type') == 'Pretrained']
    for url in sorted({str(init.get('checkpoint')) for init in inits}):
        if '://' in url:
            load_url_checkpoint(url)
    if not todo:
        return
    preflight(todo, {name: file for name, file in finished.items() if file}, console)


def _run_stage(
    stage: Stage,
    config: Config,
    launcher: str,
    say: Callable[[str], None],
    checkpoints: dict[str, str],
    check: bool,
    show: Show,
) -> str:
    """Train a stage unless it is finished; the file with its weights. `check`: preflight it, its guide is there now."""
    folder = Path(config.work_dir)
    state = from_rank_0(lambda: state_of(folder, stage.name, config))
    if state.finished:
        say(f'finished before, {state.finished}')
        return state.finished
    if check:
        from_rank_0(lambda: preflight([stage], checkpoints, console))
    if is_main_process():
        _begin(folder, stage, config, state)
    how = f'resuming from {Path(state.resume_from).name}' if state.resume_from else 'starting'
    how += ' with the learning rate of the longer schedule' if state.longer else ''
    say(f'{how}, {config.train_cfg.max_epochs} epochs, in {folder}' + ('' if show.verbose else ', where its log is'))
    started = time.time()
    runner = train(config, launcher, state.resume_from, experiment=stage.name, longer=state.longer, show=show)
    hub, seconds = runner.message_hub, round(time.time() - started, 1)
    score = float(hub.get_info('best_score')) if 'best_score' in hub.runtime_info else None
    if is_main_process():
        _finish(folder, stage, config, best_score=score, epochs=runner.epoch, seconds=seconds)
    barrier()
    shown = '' if score is None else f', best {config.default_hooks.checkpoint.save_best} {score:.3f}'
    say(f'finished in {seconds:.0f} s{shown}')
    return from_rank_0(lambda: str(finished_checkpoint(folder)))


def _begin(folder: Path, stage: Stage, config: Config, state: State) -> None:
    """Write down what is about to be trained, in this order: a cut between any two is taken up by the next call."""
    write_atomic(json.dumps(begin(folder, stage.name, config, state)).encode(), folder / 'begun.json')
    (folder / 'done.json').unlink(missing_ok=True)
    write_atomic(config.pretty_text.encode(), folder / f'{stage.name}.py')
    write_atomic(deploy_config(stage).pretty_text.encode(), folder / 'deploy.py')
    write_atomic(bench_config(stage).pretty_text.encode(), folder / 'bench.py')


def _finish(folder: Path, stage: Stage, config: Config, **facts: Any) -> None:
    """The stage is finished from now on."""
    best, last = f'{stage.name}_best.pth', f'{stage.name}_last.pth'
    weights = best if (folder / best).is_file() else last
    done = dict(stage=stage.name, checkpoint=weights, fingerprint=fingerprint(config), **facts)
    write_atomic(json.dumps(done, indent=1).encode(), folder / 'done.json')
    describe_stage(folder)


def _speaker(announce: bool, place: str) -> Callable[[str], None]:
    """Prints what happens at a place in the chain, on rank 0 and if it is to be announced."""

    def say(text: str) -> None:
        if announce and is_main_process():
            console.print(f'[bold]mmpd[/bold] {escape(f"{place}: {text}")}')

    return say
