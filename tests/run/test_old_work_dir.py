"""A work dir that an earlier version made (commit 842f564, before the folders of mmpd) is still a finished one.

`old_work_dir` holds what that version dumped for a toy chain. The weights are left out: a file holds its stage's name
instead, as it did when the fingerprints in done.json were taken.
"""

import shutil
from pathlib import Path

from mmpd.chain.chain import read_chain
from mmpd.evaluation.measure import network_of
from mmpd.run.fingerprint import fingerprint
from mmpd.run.stages import run_stages
from tests.toys import build_model

import pytest
from mmengine.config import Config

STAGES = ('teacher', 'assistant', 'student')


@pytest.fixture
def old(tmp_path, monkeypatch) -> Path:
    shutil.copytree(Path(__file__).parent / 'old_work_dir', tmp_path, dirs_exist_ok=True)
    for name in STAGES:
        (tmp_path / f'work/{name}/{name}_best.pth').write_bytes(name.encode())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_no_stage_of_it_is_trained_again_or_refused(old, monkeypatch):
    monkeypatch.setattr('mmpd.run.stages.train', lambda *args, **kwargs: pytest.fail('trained again'))
    found = run_stages(read_chain(Config.fromfile('chain.py')), 'work', announce=False)
    assert found == {name: f'work/{name}/{name}_best.pth' for name in STAGES}


@pytest.mark.parametrize('name', STAGES)
def test_its_dumped_configs_load_and_build(old, name):
    """They name 'mmpd' and 'mmpd.progress' in custom_imports, and every registered type by its old name."""
    config = Config.fromfile(f'work/{name}/{name}.py')
    assert 'mmpd.progress' in config.custom_imports.imports
    trained = build_model(config.model.get('student', config.model))
    for file in ('bench', 'deploy'):
        plain = build_model(network_of(Config.fromfile(f'work/{name}/{file}.py')).config.model)
        assert plain.state_dict().keys() == trained.state_dict().keys()


def test_a_module_that_has_moved_is_the_same_setting(old):
    config = Config.fromfile('work/student/student.py')
    before = fingerprint(config)
    config.custom_imports.imports = ['mmpd', 'mmpd.run.progress']
    assert fingerprint(config) == before
    config.custom_imports.imports = ['mmpd', 'something.else']
    assert fingerprint(config) != before
