"""What makes a stage another one: settings and the content of what it loads, not places or how it is loaded."""

import copy
import json
import shutil
from pathlib import Path

from mmpd.run.fingerprint import differences, fingerprint

import pytest
from mmengine.config import Config


@pytest.fixture
def stage(tmp_path) -> Config:
    """A stage with a guide and a data set whose files are there."""
    (tmp_path / 'guide.pth').write_bytes(b'weights')
    (tmp_path / 'train.txt').write_text('0001')
    return Config(
        dict(
            work_dir=str(tmp_path / 'work/student'),
            model=dict(guide_checkpoint=str(tmp_path / 'guide.pth'), ratio='2', guide_cache=0),
            custom_hooks=[dict(type='InitFromHook', checkpoint=str(tmp_path / 'guide.pth'))],
            train_dataloader=dict(num_workers=2, dataset=dict(data_root=str(tmp_path), ann_file='train.txt')),
            optim_wrapper=dict(optimizer=dict(lr=0.01)),
        )
    )


def changed(stage: Config, key: str, value) -> Config:
    twin = Config(copy.deepcopy(stage.to_dict()))
    twin.merge_from_dict({key: value})
    return twin


@pytest.mark.parametrize(
    ('key', 'value'), [('model.ratio', '4'), ('optim_wrapper.optimizer.lr', 0.02), ('model.guide_cache', 64)]
)
def test_a_setting_makes_another_stage(stage, key, value):
    """A guide cache is one, since the guide then sees one image at a time, which changes rounding; its size is none."""
    assert fingerprint(changed(stage, key, value)) != fingerprint(stage)
    assert fingerprint(changed(stage, 'model.guide_cache', 64)) == fingerprint(changed(stage, 'model.guide_cache', 128))


@pytest.mark.parametrize(
    ('key', 'value'),
    [
        ('train_dataloader.num_workers', 8),
        ('log_level', 'ERROR'),
        ('launcher', 'slurm'),
        ('env_cfg', dict(a=1)),
    ],
)
def test_how_it_is_run_makes_no_difference(stage, key, value):
    assert fingerprint(changed(stage, key, value)) == fingerprint(stage)


@pytest.mark.parametrize('file', ['guide.pth', 'train.txt'])
def test_files_count_by_what_is_in_them(stage, tmp_path, file):
    before = fingerprint(stage)
    shutil.copytree(tmp_path, tmp_path / 'é', ignore=lambda *_: ['work'])
    text = json.dumps(stage.to_dict(), ensure_ascii=False).replace(str(tmp_path), str(tmp_path / 'é'))
    assert fingerprint(Config(json.loads(text))) == before
    (tmp_path / file).write_text('something else')
    assert fingerprint(stage) != before


def test_a_dumped_config_is_the_same_wherever_its_work_dir_lies(finished_chain, tmp_path):
    config = Config.fromfile(Path(finished_chain.work_dir) / 'student/student.py')
    shutil.copytree(finished_chain.work_dir, tmp_path / 'é')
    moved = json.dumps(config.to_dict(), ensure_ascii=False).replace(str(finished_chain.work_dir), str(tmp_path / 'é'))
    assert fingerprint(config) == fingerprint(Config(json.loads(moved)))


def test_differences_are_those_that_count():
    old = Config(dict(model=dict(a=[1, 2], b=1), work_dir='x', log_level='INFO'))
    new = Config(dict(model=dict(a=[1, 3], c=dict(d=4)), work_dir='y', log_level='ERROR'))
    assert differences(old, new) == ['model.a.1: 2 → 3', 'model.b: 1 → not there', 'model.c.d: not there → 4']
    assert differences(old, old) == []


def test_many_differences_are_counted(stage):
    old, new = (Config(dict(model={f'key{i}': i + add for i in range(9)})) for add in (0, 1))
    assert len(differences(old, new)) == 5 and differences(old, new)[-1] == 'and 5 more'
