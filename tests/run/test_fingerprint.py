"""What makes a stage another one: settings and the content of what it loads, not places or how it is loaded."""

import copy
import json
import shutil
from pathlib import Path

from mmpd.run.fingerprint import differences, fingerprint, is_of, labels_hash

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
            default_hooks=dict(checkpoint=dict(interval=1)),
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
        ('strong_terms', dict(a=1)),  # a helper variable of the file
        ('default_hooks.logger.interval', 7),
        ('default_hooks.checkpoint.max_keep_ckpts', 5),
    ],
)
def test_how_it_is_run_makes_no_difference(stage, key, value):
    assert fingerprint(changed(stage, key, value)) == fingerprint(stage)


def test_a_fingerprint_of_before_is_one_too(stage):
    stage = changed(stage, 'strong_terms', dict(a=1))
    assert fingerprint(stage, old=True) != fingerprint(stage)
    assert is_of(stage, fingerprint(stage, old=True)) and is_of(stage, fingerprint(stage))
    assert not is_of(changed(stage, 'model.ratio', '4'), fingerprint(stage, old=True)) and not is_of(stage, None)


@pytest.mark.parametrize('file', ['guide.pth', 'train.txt'])
def test_files_count_by_what_is_in_them(stage, tmp_path, file):
    before = fingerprint(stage)
    shutil.copytree(tmp_path, tmp_path / 'é', ignore=lambda *_: ['work'])
    text = json.dumps(stage.to_dict(), ensure_ascii=False).replace(str(tmp_path), str(tmp_path / 'é'))
    assert fingerprint(Config(json.loads(text))) == before
    (tmp_path / file).write_text('something else')
    assert fingerprint(stage) != before


def voc(root: Path) -> tuple[dict, Path]:
    (root / 'Annotations').mkdir()
    (root / 'train.txt').write_text('0001.jpg\n')
    return dict(ann_file='train.txt'), root / 'Annotations/0001.xml'


def yolo(root: Path) -> tuple[dict, Path]:
    for folder in ('images', 'labels'):
        (root / folder).mkdir()
    (root / 'images/0001.png').touch()
    (root / 'data.yaml').write_text('names: [a]\ntrain: images\n')
    return dict(ann_file='data.yaml', split='train'), root / 'labels/0001.txt'


@pytest.mark.parametrize('layout', [voc, yolo])
def test_labels_count_wherever_they_lie(stage, tmp_path, layout):
    found = []
    for folder, label in (('a', 'one'), ('b', 'one'), ('c', 'another')):
        root = tmp_path / folder
        root.mkdir()
        keys, file = layout(root)
        file.write_text(label)
        found.append(changed(stage, 'train_dataloader.dataset', dict(data_root=f'{root}/', **keys)))
    hashes = [fingerprint(config) for config in found]
    assert hashes[0] == hashes[1] != hashes[2]
    assert len({fingerprint(config, old=True) for config in found}) == 1
    file.write_text('one')
    labels_hash.cache_clear()
    assert fingerprint(found[2]) == hashes[0]


def test_an_image_that_is_new_in_a_yolo_split_counts(stage, tmp_path):
    keys, _ = yolo(tmp_path)
    config = changed(stage, 'train_dataloader.dataset', dict(data_root=f'{tmp_path}/', **keys))
    before = fingerprint(config)
    (tmp_path / 'images/0002.png').touch()
    labels_hash.cache_clear()
    assert fingerprint(config) != before


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
