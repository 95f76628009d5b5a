"""One training, of a stage's dumped config: what lies in its folder is not written over."""

import shutil

from mmpd.cli import command
from mmpd.errors import ConfigError

import pytest


@pytest.fixture
def trained(finished_chain, tmp_path, monkeypatch) -> tuple[list[str], list]:
    """The command of a finished stage's own config, and what it trains."""
    folder = tmp_path / 'teacher'
    shutil.copytree(finished_chain.work_dir / 'teacher', folder)
    started: list = []
    monkeypatch.setattr('mmpd.run.train.train', lambda config, launcher, resume, **_: started.append(resume))
    return ['train', str(folder / 'teacher.py'), '--work-dir', str(folder)], started


@pytest.mark.parametrize('removed', ['epoch_1.pth', 'done.json'])
def test_a_training_is_not_written_over_unless_it_is_resumed(trained, tmp_path, removed):
    (name, *words), started = trained
    (tmp_path / 'teacher' / removed).unlink()
    with pytest.raises(ConfigError, match='teacher holds a training.*--work-dir.*--resume'):
        command(name)(words)
    assert not started
    command(name)([*words, '--resume'])
    command(name)([*words[:-1], str(tmp_path / 'another')])
    assert len(started) == 2 and started[1] is None


def test_a_folder_without_weights_is_free(trained, tmp_path):
    (name, *words), started = trained
    for file in ('epoch_1.pth', 'done.json'):
        (tmp_path / 'teacher' / file).unlink()
    command(name)(words)
    assert started == [None]
