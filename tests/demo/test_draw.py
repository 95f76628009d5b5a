"""The drawn demo set."""

from mmpd.data.voc.annotation import read_voc_xml
from mmpd.data.voc.dataset import PDVOCDataset
from mmpd.demo.draw import CLASSES, draw_demo_set, draw_image
from mmpd.errors import DataError

import cv2
import numpy as np
import pytest


def draw(root, **kwargs):
    return draw_demo_set(root, **{'n_train': 8, 'n_val': 1, 'n_test': 1, **kwargs})


def contents(root):
    return {path.relative_to(root): path.read_bytes() for path in root.rglob('*') if path.is_file()}


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    return draw(tmp_path_factory.mktemp('demo') / 'set')


def test_it_is_a_voc_set_of_mostly_small_objects(root):
    dataset = PDVOCDataset(
        data_root=str(root), ann_file='ImageSets/Main/train.txt', metainfo={'classes': CLASSES}, pipeline=[]
    )
    assert len(dataset) == 8 and not dataset.report.dropped and not dataset.report.changed
    boxes = np.array([item['bbox'] for i in range(8) for item in dataset.get_data_info(i)['instances']])
    labels = {item['bbox_label'] for i in range(8) for item in dataset.get_data_info(i)['instances']}
    longest = (boxes[:, 2:] - boxes[:, :2] + 1).max(1)
    assert labels == {0, 1, 2, 3}
    assert 0.4 < (longest <= 24).mean() < 0.9 and longest.min() >= 5 and longest.max() <= 80


def test_same_seed_same_files_other_seed_other_images(root, tmp_path):
    assert contents(draw(tmp_path / 'again')) == contents(root)
    other = contents(draw(tmp_path / 'other', seed=1))
    images = [path for path in other if path.suffix == '.jpg']
    assert all(other[path] != contents(root)[path] for path in images)


def test_no_image_is_in_two_splits(root):
    images = [path.read_bytes() for path in (root / 'JPEGImages').iterdir()]
    assert len(images) == len(set(images)) == 10


def test_a_second_call_draws_nothing_and_other_arguments_draw_anew(tmp_path):
    root = draw(tmp_path / 'set', n_train=1)
    written = (root / 'JPEGImages/train_0000.jpg').stat().st_mtime_ns
    draw(root, n_train=1)
    assert (root / 'JPEGImages/train_0000.jpg').stat().st_mtime_ns == written
    draw(root, n_train=2)
    assert len((root / 'ImageSets/Main/train.txt').read_text().split()) == 2
    assert [path.name for path in tmp_path.iterdir()] == ['set']


def test_a_foreign_folder_is_left_alone(tmp_path):
    (tmp_path / 'thesis.txt').write_text('precious')
    with pytest.raises(DataError, match='holds something else than a demo set'):
        draw(tmp_path)
    assert (tmp_path / 'thesis.txt').exists()


def test_a_cut_run_leaves_nothing_under_the_name(tmp_path, monkeypatch):
    monkeypatch.setattr(cv2, 'imwrite', lambda *args: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        draw(tmp_path / 'set')
    assert not (tmp_path / 'set').exists()
    monkeypatch.undo()
    assert draw(tmp_path / 'set').is_dir()


def test_boxes_hold_their_objects():
    """Inside a box the picture is busier than the background of the same image, which has no object there."""
    contrasts = []
    for index in range(8):
        image, objects = draw_image(np.random.default_rng(index), (320, 240))
        gray = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).astype(float)
        outside = np.ones_like(gray, bool)
        boxes = [tuple(int(v) for v in item.box) for item in objects]
        for x1, y1, x2, y2 in boxes:
            outside[y1 - 1 : y2, x1 - 1 : x2] = False
        edges = np.abs(cv2.Laplacian(cv2.GaussianBlur(gray, (0, 0), 1), cv2.CV_64F))
        contrasts += [edges[y1 - 1 : y2, x1 - 1 : x2].max() / edges[outside].mean() for x1, y1, x2, y2 in boxes]
    assert np.median(contrasts) > 5 and min(contrasts) > 1.5


def test_another_size(tmp_path):
    root = draw(tmp_path / 'set', n_train=1, size=(160, 128))
    assert cv2.imread(str(root / 'JPEGImages/train_0000.jpg')).shape == (128, 160, 3)
    assert read_voc_xml(root / 'Annotations/train_0000.xml').size == (160, 128)
