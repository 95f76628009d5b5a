"""The YOLO layout: what a data.yaml says, read as its exporters write it, and what is wrong named with its line."""

from pathlib import Path

from mmpd.chain.datasets import class_names, stock_dataset, with_pipeline
from mmpd.data.classes import yolo_classes
from mmpd.data.yolo import PDYOLODataset, label_file, split_images
from mmpd.errors import ConfigError, DataError

import cv2
import numpy as np
import pytest
import yaml
from mmengine.config import ConfigDict


def yolo_set(root: Path, labels: dict[str, str], split: str = 'train', names=('cat', 'dog'), **keys) -> Path:
    """images/<split>/<name>.jpg of 40×20 pixels, labels beside it, and a data.yaml."""
    for name, text in labels.items():
        for folder in ('images', 'labels'):
            (root / folder / split).mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(root / 'images' / split / f'{name}.jpg'), np.full((20, 40, 3), 90, np.uint8))
        if text is not None:
            (root / 'labels' / split / f'{name}.txt').write_text(text)
    (root / 'data.yaml').write_text(yaml.safe_dump({split: f'images/{split}', 'names': list(names), **keys}))
    return root


def read(root: Path, **kwargs) -> PDYOLODataset:
    return PDYOLODataset(data_root=str(root), pipeline=[], **kwargs)


def test_boxes_are_the_shares_times_the_image(tmp_path):
    root = yolo_set(tmp_path, {'a': '1 0.5 0.5 0.25 0.5\n0 0.1 0.2 0.2 0.2\n', 'b': None})
    dataset = read(root)
    assert dataset.metainfo['classes'] == ('cat', 'dog')
    first = dataset.get_data_info(0)
    assert [item['bbox_label'] for item in first['instances']] == [1, 0]
    np.testing.assert_allclose(
        [item['bbox'] for item in first['instances']], [[15, 5, 25, 15], [0, 2, 8, 6]], atol=1e-9
    )
    assert (first['width'], first['height']) == (40, 20)
    assert dataset.get_data_info(1)['instances'] == []
    assert (dataset.report.images, dataset.report.boxes, dataset.report.negatives) == (2, 2, 1)


def test_a_polygon_counts_by_its_box(tmp_path):
    dataset = read(yolo_set(tmp_path, {'a': '0 0.1 0.2 0.5 0.1 0.3 0.9'}))
    np.testing.assert_allclose(dataset.get_data_info(0)['instances'][0]['bbox'], [4, 2, 20, 18])


def test_a_box_over_the_edge_is_clipped_and_counted(tmp_path):
    dataset = read(yolo_set(tmp_path, {'a': '0 0.95 0.5 0.3 0.5'}))
    np.testing.assert_allclose(dataset.get_data_info(0)['instances'][0]['bbox'], [32, 5, 40, 15])
    assert list(dataset.report.changed) == ['boxes clipped to the image']


@pytest.mark.parametrize(
    ('line', 'says'),
    [
        ('2 0.5 0.5 0.1 0.1', 'none of 0 … 1'),
        ('-1 0.5 0.5 0.1 0.1', 'none of 0 … 1'),
        ('0.5 0.5 0.5 0.1 0.1', 'none of 0 … 1'),
        ('0 20 10 8 8', 'are they pixels'),
        ('0 0.5 0.5 0.1', '3 numbers'),
        ('0 0.5 0.5 nan 0.1', 'no shares'),
        ('cat 0.5 0.5 0.1 0.1', 'not numbers'),
    ],
)
def test_a_wrong_line_is_named(tmp_path, line, says):
    root = yolo_set(tmp_path, {'a': f'0 0.5 0.5 0.1 0.1\n\n{line}\n'})
    with pytest.raises(DataError, match=f'(?s)a.txt, line 3.*{says}'):
        read(root)


def test_up_to_ten_bad_files_are_shown_at_once(tmp_path):
    with pytest.raises(DataError) as error:
        read(yolo_set(tmp_path, {f'{i:02}': '9 0 0 0 0' for i in range(20)}))
    assert str(error.value).count('line 1') == 10


def test_names_may_be_numbered(tmp_path):
    (tmp_path / 'data.yaml').write_text('names:\n  1: dog\n  0: cat\n')
    assert yolo_classes(str(tmp_path), 'data.yaml') == ('cat', 'dog')
    (tmp_path / 'data.yaml').write_text('names:\n  1: dog\n  2: cat\n')
    with pytest.raises(DataError, match=r'\[1, 2\]'):
        yolo_classes(str(tmp_path), 'data.yaml')


@pytest.mark.parametrize('place', ['images/train', '../images/train', './images/train/', ['images/train']])
def test_folders_as_exporters_name_them(tmp_path, place):
    root = yolo_set(tmp_path, {'a': '', 'b': ''}, train=place)
    assert [image.stem for image in split_images(root / 'data.yaml', 'train')] == ['a', 'b']


def test_a_list_of_images_and_a_root_elsewhere(tmp_path):
    root = yolo_set(tmp_path / 'set', {'a': '', 'b': ''})
    (root / 'some.txt').write_text('./images/train/b.jpg\n')
    (tmp_path / 'data.yaml').write_text(yaml.safe_dump(dict(path='set', train='some.txt', names=['x'])))
    assert split_images(tmp_path / 'data.yaml', 'train') == [root / './images/train/b.jpg']


def test_a_split_that_is_not_there(tmp_path):
    root = yolo_set(tmp_path, {'a': '0 0.5 0.5 0.1 0.1'})
    with pytest.raises(DataError, match=r"no split 'val'.*\['train'\]"):
        read(root, split='val')
    with pytest.raises(DataError, match='no folder'):
        read(yolo_set(tmp_path, {'a': ''}, train='images/trian'))


def test_labels_lie_where_ultralytics_looks_for_them():
    assert label_file(Path('/x/images/train/a.jpg')) == Path('/x/labels/train/a.txt')
    assert label_file(Path('/images/y/train/images/a.png')) == Path('/images/y/train/labels/a.txt')
    assert label_file(Path('/x/a.jpg')) == Path('/x/a.txt')


def test_other_names_than_the_files_are_refused(tmp_path):
    root = yolo_set(tmp_path, {'a': '0 0.5 0.5 0.1 0.1'})
    with pytest.raises(ConfigError, match='leave it out'):
        read(root, metainfo=dict(classes=('dog', 'cat')))


def test_a_chain_takes_the_names_from_the_file_and_stock_mmdet_gets_them(tmp_path):
    root = yolo_set(tmp_path, {'a': '0 0.5 0.5 0.1 0.1'})
    part = ConfigDict(type='PDYOLODataset', data_root=str(root), split='train')
    assert class_names(part, 'data.train') == ('cat', 'dog')
    stock = stock_dataset(with_pipeline(part, [], test_mode=True))
    assert stock.type == 'CocoDataset' and stock.metainfo.classes == ('cat', 'dog') and 'split' not in stock
