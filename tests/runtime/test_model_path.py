"""Models by name: a path that exists comes first, an unknown name is told with the known ones."""

from pathlib import Path

from mmpd import paths
from mmpd.cli import command
from mmpd.errors import DataError
from mmpd.runtime.description import read_description
from mmpd.runtime.detector import Detector, locate

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]


def test_a_model_that_ships_is_found_by_name_and_describes_itself(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert locate('voc_lite0_160') == ROOT / 'models' / 'voc_lite0_160' / 'student.packed.onnx.gz'
    said = read_description(paths.model_path('voc_lite0_160'))
    assert len(said.classes) == 20 and (said.size, said.hr_size, said.ratio) == ((160, 160), (320, 320), '2')
    (tmp_path / 'voc_lite0_160').mkdir()
    assert paths.model_path('voc_lite0_160') == Path('voc_lite0_160')  # the user's own


def test_an_unknown_name_is_told_with_the_known_ones(tmp_path):
    with pytest.raises(DataError, match='voc_lite0: no such file.*voc_lite0_160'):
        command('infer')(['voc_lite0', str(tmp_path / 'photo.jpg')])


MODELS = sorted(path.name for path in (ROOT / 'models').iterdir() if path.is_dir())


@pytest.mark.parametrize('name', MODELS)
def test_every_model_that_ships_finds_boxes_inside_the_image(name):
    pytest.importorskip('onnxruntime')
    detector = Detector(name, threads=1)
    image = np.random.default_rng(0).integers(0, 256, (90, 120, 3)).astype(np.uint8)
    [found] = detector([image])
    assert detector.description == read_description(paths.model_path(name))
    assert len(found.boxes) == len(found.scores) <= detector.description.max_per_image
    assert (found.boxes >= -0.01).all() and (found.boxes <= (120.01, 90.01) * 2).all()
    assert set(found.labels) <= set(range(len(detector.description.classes)))


def test_models_take_no_more_than_eight_megabytes():
    assert sum(file.stat().st_size for file in (ROOT / 'models').rglob('*') if file.is_file()) < 8e6


def test_every_folder_of_models_is_a_model():
    folders = {path.name for path in (ROOT / 'models').iterdir() if path.is_dir()}
    assert folders == {path.parent.name for path in (ROOT / 'models').glob('*/deploy.json')}
