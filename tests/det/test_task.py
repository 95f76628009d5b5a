"""Pipelines and dataloaders of a detection chain."""

from mmpd.chain.chain import read_chain
from mmpd.chain.datasets import dataloaders, innermost
from mmpd.det.task import DetectionTask
from mmpd.errors import ConfigError
from tests.toys import CLASSES, toy_chain

import numpy as np
import pytest
import torch
from mmdet.registry import DATASETS
from mmengine.registry import DefaultScope


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    return tmp_path_factory.mktemp('tasks')


def dataset(config) -> object:
    with DefaultScope.overwrite_default_scope('mmdet'):
        return DATASETS.build(config)


def types(pipeline) -> list[str]:
    return [step['type'] for step in pipeline]


def test_all_that_is_random_comes_before_the_reduction(root):
    chain = read_chain(toy_chain(root, **{'data.augment': [dict(type='RandomCrop', crop_size=(32, 32))]}))
    pipeline = types(DetectionTask().train_pipeline(chain.stages['student']))
    assert pipeline == [
        'LoadImageFromFile',
        'LoadAnnotations',
        'Resize',
        'RandomCrop',
        'ReduceResolution',
        'PackPairedInputs',
    ]
    assert types(DetectionTask().train_pipeline(chain.stages['teacher']))[-1] == 'PackDetInputs'


def test_flip_is_the_default_augmentation(root):
    assert 'RandomFlip' in types(DetectionTask().train_pipeline(read_chain(toy_chain(root)).stages['teacher']))


def test_a_students_sample_is_a_pair_and_a_teachers_is_one_image(root):
    chain = read_chain(toy_chain(root))
    paired = dataset(dataloaders(chain.stages['student'])['train_dataloader']['dataset'])[0]
    assert tuple(paired['inputs']['hr'].shape) == (3, 48, 64) and tuple(paired['inputs']['lr'].shape) == (3, 24, 32)
    alone = dataset(dataloaders(chain.stages['teacher'])['train_dataloader']['dataset'])[0]
    assert tuple(alone['inputs'].shape) == (3, 48, 64)


def test_at_one_size_a_pair_is_the_same_image_twice(root):
    chain = read_chain(toy_chain(root))
    sample = dataset(dataloaders(chain.stages['assistant'])['train_dataloader']['dataset'])[1]
    assert torch.equal(sample['inputs']['hr'], sample['inputs']['lr'])


@pytest.mark.parametrize('ratio', [2, '3/2', 4])
def test_ground_truth_of_a_test_sample_stays_in_original_pixels(root, ratio):
    chain = read_chain(toy_chain(root, ratio=ratio))
    lr, hr = (
        dataset(dataloaders(chain.stages[name])['test_dataloader']['dataset'])[0] for name in ('student', 'teacher')
    )
    boxes = [sample['data_samples'].gt_instances.bboxes.tensor for sample in (lr, hr)]
    assert torch.equal(*boxes)
    factor = float(chain.ratio)
    np.testing.assert_allclose(lr['data_samples'].scale_factor, (1 / factor, 1 / factor), rtol=1e-6)
    assert tuple(lr['data_samples'].hr_scale_factor) == tuple(hr['data_samples'].scale_factor) == (1.0, 1.0)


def test_training_and_test_images_are_reduced_alike(root):
    chain = read_chain(toy_chain(root, reduction='lanczos', **{'data.augment': []}))
    loaders = dataloaders(chain.stages['student'])
    train, test = (loaders[f'{split}_dataloader']['dataset'] for split in ('train', 'test'))
    test = {**test, 'ann_file': train['ann_file']}
    assert torch.equal(dataset(train)[0]['inputs']['lr'], dataset(test)[0]['inputs'])


def test_wrapped_data_sets_get_the_pipeline_inside(root):
    config = toy_chain(root)
    part = config.data.train
    config.data.train = dict(type='RepeatDataset', times=2, dataset=dict(type='ConcatDataset', datasets=[part, part]))
    chain = read_chain(config)
    wrapped = dataloaders(chain.stages['student'])['train_dataloader']['dataset']['dataset']
    assert 'pipeline' not in wrapped and 'pipeline' not in wrapped['dataset']
    assert all('pipeline' in inner for inner in wrapped['dataset']['datasets'])
    assert len(dataset(wrapped)) == 16
    assert innermost(wrapped) is wrapped['dataset']['datasets'][0]
    assert DetectionTask().classes(chain.final) == CLASSES


def test_workers_never_outlive_an_epoch(root):
    loaders = dataloaders(read_chain(toy_chain(root)).stages['student'])
    assert not any(loader['persistent_workers'] for loader in loaders.values())
    assert loaders['train_dataloader']['drop_last'] and not loaders['test_dataloader']['drop_last']
    assert (
        loaders['val_dataloader']['dataset']['test_mode'] and 'test_mode' not in loaders['train_dataloader']['dataset']
    )


def num_classes(config) -> int:
    chain = read_chain(config)
    return DetectionTask().num_classes(chain.final)


def test_classes_come_from_the_config_or_the_data_sets_class(root):
    config = toy_chain(root)
    assert num_classes(config) == 2
    del config.data.train['metainfo']
    assert num_classes(config) == 20
    config.data.train.metainfo = dict(classes=())
    with pytest.raises(ConfigError, match=r'metainfo.classes is \(\); give a tuple'):
        num_classes(config)


def test_an_unknown_task_is_refused(root):
    config = toy_chain(root)
    config.task = 'poetry'
    with pytest.raises(ConfigError, match="task = 'poetry' is unknown.*detection"):
        read_chain(config)
