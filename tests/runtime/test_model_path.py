"""Models by name: a path that exists comes first, an unknown name is told with the known ones."""

from pathlib import Path

from mmpd import paths
from mmpd.cli import command
from mmpd.errors import DataError
from mmpd.runtime.description import read_description
from mmpd.runtime.detector import locate

import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_a_model_that_ships_is_found_by_name_and_describes_itself(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert locate('voc_lite0_160') == ROOT / 'models' / 'voc_lite0_160' / 'student.pth'
    said = read_description(paths.model_path('voc_lite0_160'))
    assert len(said.classes) == 20 and (said.size, said.hr_size, said.ratio) == ((160, 160), (320, 320), '2')
    (tmp_path / 'voc_lite0_160').mkdir()
    assert paths.model_path('voc_lite0_160') == Path('voc_lite0_160')  # the user's own


def test_an_unknown_name_is_told_with_the_known_ones(tmp_path):
    with pytest.raises(DataError, match='voc_lite0: no such file.*voc_lite0_160'):
        command('infer')(['voc_lite0', str(tmp_path / 'photo.jpg')])


def test_every_folder_of_models_is_a_model():
    folders = {path.name for path in (ROOT / 'models').iterdir() if path.is_dir()}
    assert folders == {path.parent.name for path in (ROOT / 'models').glob('*/deploy.json')}
