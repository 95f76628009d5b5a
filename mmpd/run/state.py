"""What a stage's folder says: finished, cut, or to be trained longer than it was."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from pathlib import Path

from mmengine.config import Config

from ..errors import ConfigError
from ..io.resume import latest_intact
from ..nested import walk_dicts
from .fingerprint import differences, fingerprint, is_of


@dataclass(frozen=True)
class State:
    """Where a stage stands.

    Attributes:
        finished: file with its plain weights; None: there is something to train.
        resume_from: the Runner checkpoint to go on from, None: from the start.
        longer: it was trained with a shorter schedule up to there, so the learning rate goes on as the longer one has
            it.
    """

    finished: str | None = None
    resume_from: str | None = None
    longer: bool = False


def state_of(folder: Path, name: str, config: Config) -> State:
    """The state of stage `name`, whose ordinary mmengine config is `config`.

    Raises:
        ConfigError: what lies in the folder was trained with another config (beyond a longer schedule), or from another
            guide; says which keys differ.
    """
    finished = finished_checkpoint(folder)
    done, begun = read_json(folder / 'done.json'), read_json(folder / 'begun.json')
    if finished and is_of(config, done.get('fingerprint')):
        return State(finished=finished)
    newest = latest_intact(folder)
    if newest is None and not finished:
        return State()
    if not finished and ('fingerprint' not in begun or is_of(config, begun['fingerprint'])):
        return State(resume_from=str(newest), longer=_epoch(newest) <= begun.get('longer_from', -1))
    dumped = folder / f'{name}.py'
    old = Config.fromfile(dumped) if dumped.is_file() else None
    longer = old is not None and newest is not None and _is_longer(old, config)
    recorded = (done if finished else begun).get('fingerprint')
    if old is not None and longer and (old.work_dir != config.work_dir or is_of(old, recorded)):
        return State(resume_from=str(newest), longer=True)
    # what differs beside the length; nothing: the content of files that the config names, where they did not move
    changed = differences(old, config) if old is not None and not longer else []
    why = '; '.join(changed) or 'its guide, the file that it starts from, or its data set has other content'
    instead = (
        ''
        if finished or newest is None
        else (f', or remove {folder / "begun.json"} to go on from {newest.name} all the same')
    )
    raise ConfigError(
        f'stage {name} in {folder} was {"finished" if finished else "begun"} with another config or guide ({why}): use '
        f'another --work-dir, or remove {folder} to train it again{instead}'
    )


def _is_longer(old: Config, new: Config) -> bool:
    """Whether a config is another one with more epochs, and nothing else."""
    lengths = [config.train_cfg.max_epochs for config in (old, new)]
    return lengths[1] > lengths[0] and fingerprint(_without_length(old)) == fingerprint(_without_length(new))


def _without_length(config: Config) -> Config:
    plain = Config(copy.deepcopy(config.to_dict()))
    plain.train_cfg.max_epochs = 0
    for scheduler in walk_dicts(plain.param_scheduler):
        if scheduler.get('by_epoch'):  # the warm-up's end is none of the schedule's length
            for key in ('T_max', 'end', 'milestones'):
                scheduler.pop(key, None)
    return plain


def _epoch(checkpoint: Path | None) -> int:
    """N of `epoch_N.pth`."""
    digits = ''.join(character for character in checkpoint.stem if character.isdigit()) if checkpoint else ''
    return int(digits or 0)


def begin(folder: Path, name: str, config: Config, state: State) -> dict:
    """The content of begun.json. `longer_from`: up to this epoch checkpoints have the shorter schedule's state."""
    record: dict = dict(stage=name, fingerprint=fingerprint(config))
    if state.longer and state.resume_from:
        record['longer_from'] = _epoch(Path(state.resume_from))
    return record


def finished_checkpoint(folder: Path) -> str | None:
    """Plain weights of a finished stage, or None where the stage is not finished."""
    done = read_json(folder / 'done.json')
    weights = folder / done.get('checkpoint', '')
    return str(weights) if weights.is_file() else None


def read_json(path: Path) -> dict:
    """The dict in a JSON file; {} where there is none."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
