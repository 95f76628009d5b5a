"""The config files that come with mmpd: what they read from outside, and that both mmengines can read them."""

import ast
import re
from pathlib import Path

import pytest
from mmengine.config import Config

ROOT = Path(__file__).resolve().parents[2] / 'configs'
FILES = sorted(ROOT.rglob('*.py'))


@pytest.mark.parametrize('path', FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_config_imports_anything(path: Path):
    """In a virtual environment mmengine 0.10.7 takes a file with an import for a lazy one and refuses its bases."""
    text = path.read_text()
    tree = ast.parse(re.sub(r'\{\{_base_.*?\}\}', 'None', text))
    assert not [node.lineno for node in ast.walk(tree) if isinstance(node, (ast.Import, ast.ImportFrom))]
    Config.fromfile(path)


@pytest.mark.parametrize(
    ('file', 'variable', 'key', 'default'),
    [
        ('_base_/voc.py', 'MMPD_VOC_ROOT', 'train.data_root', 'data/VOCdevkit/'),
        ('_base_/bccd.py', 'MMPD_BCCD_ROOT', 'val.data_root', 'data/BCCD/'),
        ('pd_demo.py', 'MMPD_DEMO_ROOT', 'test.data_root', 'work_dirs/demo/data/'),
        ('classification/_base_/cub.py', 'MMPD_CUB_ROOT', 'val.data_root', 'data/CUB_200_2011'),
        ('classification/_base_/imagenet_subset.py', 'MMPD_IMAGENET_ROOT', 'test.data_root', 'data/imagenet'),
    ],
)
def test_roots_come_from_the_environment(monkeypatch, file, variable, key, default):
    def root() -> str:
        split, name = key.split('.')
        return Config.fromfile(ROOT / file).data[split][name]

    monkeypatch.delenv(variable, raising=False)
    assert root() == default
    monkeypatch.setenv(variable, '/elsewhere')
    assert root() == '/elsewhere' + ('/' if default.endswith('/') else '')


def test_the_list_of_imagenet_classes_lies_in_the_root_unless_it_is_named(monkeypatch):
    def classes() -> str:
        return Config.fromfile(ROOT / 'classification/_base_/imagenet_subset.py').data.val.classes

    monkeypatch.setenv('MMPD_IMAGENET_ROOT', '/images')
    monkeypatch.delenv('MMPD_IMAGENET_CLASSES', raising=False)
    assert classes() == '/images/classes.txt'
    monkeypatch.setenv('MMPD_IMAGENET_CLASSES', 'hundred.txt')
    assert classes() == 'hundred.txt'


def test_voc0712_adds_2012_to_the_training_set_alone(monkeypatch):
    monkeypatch.setenv('MMPD_VOC_ROOT', '/voc')
    old, new = (Config.fromfile(ROOT / '_base_' / name).data for name in ('voc.py', 'voc0712.py'))
    assert new.train.type == 'ConcatDataset' and new.train.datasets[0] == old.train
    assert new.train.datasets[1].data_root == '/voc/' and '2012' in new.train.datasets[1].ann_file
    assert new.val == old.val and new.test == old.test
