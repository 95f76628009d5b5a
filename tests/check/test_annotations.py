"""What annotation files say before a data set is built: names, missing images, images in two splits."""

import json
from pathlib import Path

from mmpd.check.annotations import annotation_findings
from tests.check.coco_file import coco_set
from tests.toys import CLASSES, toy_chain

import pytest
from mmdet.registry import DATASETS
from mmengine.config import Config
from mmengine.registry import DefaultScope


@pytest.fixture
def root(tmp_path) -> Path:
    return tmp_path


def findings(train: dict, chosen: str | None = 'pd/AP50', **splits: dict) -> list[str]:
    loaders = {f'{split}_dataloader': dict(dataset=part) for split, part in dict(train=train, **splits).items()}
    config = Config(dict(default_hooks=dict(checkpoint=dict(save_best=chosen)), **loaders))
    return [str(finding) for finding in annotation_findings(config) if finding.error]


def trained_labels(part: dict) -> list[tuple[str, int]]:
    """(category in the file, label that mmdet trains) of every box."""
    with DefaultScope.overwrite_default_scope('mmdet'):
        dataset = DATASETS.build(dict(part, pipeline=[], serialize_data=False))
    content = json.loads(Path(part['ann_file']).read_text())
    names = {category['id']: category['name'] for category in content['categories']}
    pairs = []
    for info in (dataset.get_data_info(index) for index in range(len(dataset))):
        own = [
            a for a in content['annotations'] if a['image_id'] == info['img_id'] and names[a['category_id']] in CLASSES
        ]
        pairs += [(names[a['category_id']], i['bbox_label']) for a, i in zip(own, info['instances'], strict=False)]
    return pairs


def test_sound_splits_have_no_findings(root):
    splits = {split: coco_set(root, split) for split in ('train', 'val', 'test')}
    assert findings(**splits) == []
    assert all(CLASSES[label] == name for name, label in trained_labels(splits['train']))
    voc = toy_chain(root).data
    assert findings(voc.train, val=voc.val, test=voc.test) == []
    assert findings(dict(type='CustomDataset', data_prefix='train')) == []


@pytest.mark.parametrize('split', ['val', 'test'])
def test_a_file_that_is_read_hours_later_is_looked_for_now(root, split):
    """A test file was missed when all stages had finished, and its right path then made each of them another stage."""
    voc = toy_chain(root).data
    splits = dict(val=voc.val, test=voc.test) | {split: dict(voc[split], ann_file='ImageSets/Main/none.txt')}
    (said,) = findings(voc.train, **splits)
    assert said.startswith(f'data.{split}.ann_file: ') and said.endswith('none.txt: no such file')


@pytest.mark.parametrize(
    ('names', 'words'),
    [
        (('disc', 'square'), ["write ('disc', 'square') in every split"]),
        (('sqare', 'disc'), ["no category ['square']", "write 'sqare' for 'square'"]),
        (('disc',), ["no category ['square']", "categories are ['disc']"]),
    ],
)
def test_names_that_would_move_labels_stop(root, names, words):
    """mmdet's own numbering is the oracle: with these files it trains other labels than the config names."""
    part = coco_set(root, names=names)
    pairs = trained_labels(part)
    assert pairs and any(CLASSES[label] != name for name, label in pairs)
    (text,) = findings(dict(type='RepeatDataset', times=2, dataset=part))
    assert all(word in text for word in ['data.train.metainfo.classes', *words]), text
    assert findings(coco_set(root, file='good.json'), val=part)[0].startswith('data.val.metainfo.classes')


def test_more_categories_in_the_file_are_fine(root):
    part = coco_set(root, names=('square', 'kite', 'disc'))
    assert findings(part) == [] and all(CLASSES[label] == name for name, label in trained_labels(part))


@pytest.mark.parametrize('split', ['train', 'val', 'test'])
def test_a_missing_image_is_found_in_every_split(root, split):
    splits = {name: coco_set(root, name) for name in ('train', 'val', 'test')}
    (root / f'voc/JPEGImages/{split}_1.png').unlink()
    (text,) = findings(**splits)
    assert f'data.{split}: 1 of ' in text and f'{split}_1.png' in text and 'do not exist' in text


def test_images_in_two_splits_are_found_by_id_whatever_the_files_are_called(root):
    voc = toy_chain(root).data
    lists = root / 'voc/ImageSets/Main'
    (lists / 'trainval.txt').write_text((lists / 'train.txt').read_text() + (lists / 'val.txt').read_text())
    both = dict(voc.train, ann_file='ImageSets/Main/trainval.txt')
    (text,) = findings(both, val=voc.val, test=voc.test)
    assert '2 of 2 images of data.val are in data.train too (val_0, val_1)' in text and 'training images' in text
    assert findings(both, None, val=voc.val, test=voc.test) == []  # nothing is chosen on val
    (text,) = findings(dict(type='ConcatDataset', datasets=[voc.train, voc.test]), None, test=voc.test)
    assert 'the test images would be trained on' in text
    (text,) = findings(both, val=coco_set(root, 'val'), test=voc.test)  # the same images, in another format
    assert '2 of 2 images of data.val' in text


def test_the_same_id_in_another_folder_is_another_image(root):
    one, two = (toy_chain(root / name).data for name in ('one', 'two'))
    assert findings(one.train, val=dict(two.train)) == []


@pytest.mark.parametrize('kind', ['VOCDataset', 'XMLDataset', 'PDVOCDataset'])
def test_a_misspelt_name_in_voc_annotations_that_would_be_skipped_stops(root, kind):
    part = dict(toy_chain(root).data.train, type=kind, metainfo=dict(classes=('sqare', 'disc')))
    if kind == 'PDVOCDataset':
        part['unknown_classes'] = 'skip'  # else it stops by itself
    for image in (root / 'voc/JPEGImages').iterdir():  # mmdet's own look for .jpg
        image.with_suffix('.jpg').write_bytes(image.read_bytes())
    (text,) = findings(part)
    assert "have the class 'square', which is left out; 'sqare' is near" in text
    assert findings(dict(part, metainfo=dict(classes=('disc',)))) == []  # some of the classes, on purpose


def test_missing_images_of_mmdets_own_voc_sets_are_found(root):
    part = dict(toy_chain(root).data.train, type='VOCDataset')
    (text,) = findings(part)
    assert '4 of 4 images' in text and 'train_0.jpg' in text


def test_images_in_two_splits_of_a_yolo_file_are_found(root):
    toy_chain(root)
    (root / 'data.yaml').write_text('names: [square, disc]\ntrain: voc/JPEGImages\nval: val.txt\n')
    (root / 'val.txt').write_text('voc/JPEGImages/val_0.png\n')
    train, val = (
        dict(type='PDYOLODataset', data_root=str(root), ann_file='data.yaml', split=s) for s in ('train', 'val')
    )
    (text,) = findings(train, val=val)
    assert '1 of 1 images of data.val are in data.train too (val_0)' in text
