"""Data sets in wrappers: seeds without being asked, names that agree, and what cannot work is refused."""

from pathlib import Path

from mmpd.chain.chain import read_chain
from mmpd.chain.datasets import class_names, dataloaders, seeded, with_pipeline
from mmpd.chain.deploy import deploy_config
from mmpd.chain.stage_config import stage_config
from mmpd.det.task import DetectionTask
from mmpd.errors import ConfigError
from tests.check.coco_file import coco_set
from tests.toys import CLASSES, toy_chain

import pytest
import torch
from mmdet.registry import DATASETS
from mmengine.config import ConfigDict
from mmengine.registry import DefaultScope


@pytest.fixture(scope='module')
def root(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp('datasets')


def build(dataset: dict):
    with DefaultScope.overwrite_default_scope('mmdet'):
        return DATASETS.build(dataset)


def training_set(root: Path, train: dict, augment: list):
    chain = read_chain(toy_chain(root, **{'data.train': ConfigDict(_delete_=True, **train), 'data.augment': augment}))
    return build(dataloaders(chain.stages['teacher'])['train_dataloader']['dataset'])


CROP = [dict(type='RandomCrop', crop_size=(0.5, 0.5), crop_type='relative_range', allow_negative_crop=True)]


@pytest.mark.parametrize('kind', ['PDVOCDataset', 'CocoDataset'])
def test_repetitions_are_augmented_differently_and_epochs_repeat(root, kind):
    part = toy_chain(root).data.train if kind == 'PDVOCDataset' else coco_set(root)
    dataset = training_set(root, dict(type='RepeatDataset', times=3, dataset=part), CROP)
    assert len(dataset) == 12

    def images(epoch: int) -> list:
        dataset.epoch = epoch
        return [dataset[index]['inputs'] for index in (0, 4, 8)]

    first, again, other = images(0), images(0), images(1)
    differ = lambda a, b: a.shape != b.shape or not torch.equal(a, b)  # noqa: E731
    assert all(differ(first[a], first[b]) for a, b in ((0, 1), (0, 2), (1, 2)))
    assert not any(differ(a, b) for a, b in zip(first, again, strict=True))
    assert any(differ(a, b) for a, b in zip(first, other, strict=True))


def test_a_coco_set_is_seeded_and_a_voc_set_needs_nothing_around_it(root):
    assert seeded(ConfigDict(type='PDVOCDataset')).type == 'PDVOCDataset'
    assert seeded(ConfigDict(type='mmdet.SeededDataset', dataset=dict())).type == 'mmdet.SeededDataset'
    dataset = training_set(root, coco_set(root), CROP)
    assert type(dataset).__name__ == 'SeededDataset'
    torch.manual_seed(1)
    first = dataset[0]['inputs']
    torch.manual_seed(2)
    assert torch.equal(first, dataset[0]['inputs'])


def test_two_types_with_the_same_names_can_be_joined(root):
    voc = toy_chain(root).data.train
    dataset = training_set(root, dict(type='ConcatDataset', datasets=[voc, coco_set(root)]), [])
    assert len(dataset) == 8 and tuple(dataset.metainfo['classes']) == CLASSES
    assert {tuple(dataset[index]['data_samples'].gt_instances.bboxes.shape[1:]) for index in range(8)} == {(4,)}


@pytest.mark.parametrize('split', ['train', 'test'])
def test_joined_sets_that_number_their_classes_differently_are_refused(root, split):
    voc = toy_chain(root).data[split]
    other = dict(coco_set(root), metainfo=dict(classes=CLASSES[::-1]))
    joined = dict(_delete_=True, type='ConcatDataset', datasets=[voc, other])
    chain = read_chain(toy_chain(root, **{f'data.{split}': ConfigDict(joined)}))
    with pytest.raises(ConfigError, match=rf"data.{split} joins .*PDVOCDataset.*\('square', 'disc'\).*CocoDataset"):
        stage_config(chain.stages['teacher'], root, {})


def test_what_mixes_images_is_refused_with_the_reason(root):
    mixed = ConfigDict(_delete_=True, type='MultiImageMixDataset', dataset=toy_chain(root).data.train, pipeline=[])
    with pytest.raises(ConfigError, match='MultiImageMixDataset in data: .*CachedMosaic'):
        stage_config(read_chain(toy_chain(root, **{'data.train': mixed})).stages['teacher'], root, {})
    for augment in ([dict(type='Mosaic')], [dict(type='RandomApply', transforms=[dict(type='mmdet.MixUp')])]):
        with pytest.raises(ConfigError, match=r'data.augment has .*(Mosaic|MixUp): .*cached form'):
            read_chain(toy_chain(root, **{'data.augment': augment}))
    read_chain(toy_chain(root, **{'data.augment': [dict(type='CachedMosaic')]}))


def test_names_from_a_file_are_names_everywhere(root):
    (root / 'classes.txt').write_text('\n'.join(CLASSES) + '\n')
    changes = {f'data.{split}.metainfo.classes': str(root / 'classes.txt') for split in ('train', 'val', 'test')}
    chain = read_chain(toy_chain(root, **changes))
    assert DetectionTask().classes(chain.final) == CLASSES
    config = stage_config(chain.stages['teacher'], root, {})
    assert config.model.bbox_head.num_classes == 2
    assert tuple(config.train_dataloader.dataset.metainfo.classes) == CLASSES
    assert tuple(deploy_config(chain.stages['teacher']).test_dataloader.dataset.metainfo.classes) == CLASSES


def test_a_name_for_a_file_that_is_not_there_is_refused(root):
    chain = read_chain(toy_chain(root, **{'data.train.metainfo.classes': 'classes.txt'}))
    with pytest.raises(ConfigError, match=r"data.train.metainfo.classes is the string 'classes.txt'.*no such file"):
        stage_config(chain.stages['teacher'], root, {})


@pytest.mark.parametrize(('kind', 'count'), [('PDVOCDataset', 25), ('CocoDataset', 90)])
def test_more_classes_than_the_types_colours_can_be_drawn(kind, count):
    """As mmdet's visualizer picks them: a colour for each label."""
    names = tuple(f'kind {index}' for index in range(count))
    part = with_pipeline(dict(type=kind, metainfo=dict(classes=names)), [])
    assert len(part.metainfo.palette) == count == len({tuple(colour) for colour in part.metainfo.palette})
    few = with_pipeline(dict(type=kind, metainfo=dict(classes=names[:20])), [])
    assert 'palette' not in few.metainfo and class_names(few, 'data.train') == names[:20]
