"""Classification as a task of the chain: pipelines, class counts, image folders, accuracy."""

from fractions import Fraction
from pathlib import Path

from mmpd.chain.chain import Chain, read_chain
from mmpd.chain.deploy import deploy_config
from mmpd.chain.stage_config import stage_config
from mmpd.check.config import config_findings
from mmpd.cls.data import ClassFolders
from mmpd.cls.metric import PDAccuracy
from mmpd.data.reduction import reduce_image
from mmpd.errors import ConfigError, DataError
from tests.cls.toy_classifiers import CLASSES, toy_cnn, toy_vit, write_toy_folders

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmpretrain.registry import DATASETS


def toy_chain(root: Path, ratio: int = 2, **changes) -> Chain:
    folder = dict(type='CustomDataset', data_root=str(root))
    config = Config(
        dict(
            task='classification',
            ratio=ratio,
            reduction='bilinear',
            pretrained=False,
            stages=dict(
                teacher=dict(detector=toy_cnn(), size='hr'),
                student=dict(
                    detector=toy_vit(32), size='lr', guide='teacher', terms=dict(kd=dict(type='mmdet.KDTerm'))
                ),
            ),
            data=dict(
                train=dict(type='mmdet.SeededDataset', dataset=dict(data_prefix='train', **folder)),
                val=dict(data_prefix='val', **folder),
                test=dict(data_prefix='test', **folder),
                hr_scale=(32, 32),
            ),
            schedule=dict(max_epochs=1, warmup_iters=0),
        )
    )
    config.merge_from_dict(changes)
    return read_chain(config)


@pytest.fixture(scope='module')
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy_folders(tmp_path_factory.mktemp('images'))


def build_dataset(loader: dict):
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        return DATASETS.build(loader['dataset'])


def test_a_stages_own_augmentation_takes_the_place_of_the_chains(tmp_path):
    write_toy_folders(tmp_path)
    own = [dict(type='Resize', scale=(32, 32))]
    chain = toy_chain(tmp_path, **{'stages.student.augment': own})
    steps = {name: [step['type'] for step in stage.task.train_pipeline(stage)] for name, stage in chain.stages.items()}
    assert steps['student'][1] == 'Resize' and 'RandomResizedCrop' in steps['teacher']


def test_a_training_sample_is_one_crop_at_two_sizes_the_same_each_time(folders: Path):
    config = stage_config(toy_chain(folders).stages['student'], 'unused', {})
    dataset = build_dataset(config.train_dataloader)
    sample = dataset[1]
    hr, lr = sample['inputs']['hr'], sample['inputs']['lr']
    assert hr.shape == (3, 32, 32) and lr.shape == (3, 16, 16)
    # cv2's bilinear reduction by 2 is the mean of 2 × 2 pixels
    means = hr.float().unfold(1, 2, 2).unfold(2, 2, 2).mean((-1, -2))
    assert (lr - means).abs().max() <= 1
    assert sample['data_samples'].gt_label.tolist() == [0] and sample['data_samples'].img_shape == (16, 16)
    assert torch.equal(dataset[1]['inputs']['hr'], hr)
    dataset.epoch = 1
    assert not torch.equal(dataset[1]['inputs']['hr'], hr)


def test_a_test_image_is_what_the_student_was_trained_on_and_deployed_with(folders: Path):
    chain = toy_chain(folders)
    bench = build_dataset(stage_config(chain.stages['student'], 'unused', {}).test_dataloader)[0]
    deployed = build_dataset(deploy_config(chain.stages['student']).test_dataloader)[0]
    hr = build_dataset(stage_config(chain.stages['teacher'], 'unused', {}).test_dataloader)[0]['inputs']
    reduced = reduce_image(np.ascontiguousarray(hr.permute(1, 2, 0).numpy()), Fraction(2), 'bilinear')
    np.testing.assert_array_equal(bench['inputs'].permute(1, 2, 0), reduced)
    assert bench['inputs'].shape == deployed['inputs'].shape == (3, 16, 16)
    assert not any(
        'mmdet' in step['type'] for step in deploy_config(chain.stages['student']).test_dataloader.dataset.pipeline
    )


@pytest.mark.parametrize(('ratio', 'side'), [(2, 16), (4, 8)])
def test_a_position_embedding_is_made_for_the_students_images(folders: Path, ratio: int, side: int):
    chain = toy_chain(folders, ratio)
    assert chain.stages['student'].network.backbone.img_size == side
    assert 'img_size' not in chain.stages['teacher'].network.backbone


def test_classes_are_counted_in_the_folders_unless_they_are_given(folders: Path):
    chain = toy_chain(folders)
    assert chain.final.task.classes(chain.final) == CLASSES
    assert chain.stages['student'].network.head.num_classes == 3
    assert toy_chain(folders, **{'data.num_classes': 7}).stages['student'].network.head.num_classes == 7
    cub = toy_chain(folders, **{'data.train.dataset': dict(type='CUB', data_root='nowhere', split='train')})
    assert cub.stages['teacher'].network.head.num_classes == 200


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'data.train.dataset.data_root': '/nowhere'}, 'no class folders'),
        ({'data.hr_scale': (32, 48)}, 'give a square'),
        ({'ratio': '3/2'}, 'multiple of 3'),
    ],
)
def test_wrong_data_settings_are_named(folders: Path, changes: dict, message: str):
    chain = toy_chain(folders, **changes)
    with pytest.raises(ConfigError, match=message):
        stage_config(chain.stages['student'], 'unused', {})


def test_a_listed_class_folder_keeps_its_number_and_the_rest_is_left_out(folders: Path, tmp_path: Path):
    listed = tmp_path / 'classes.txt'
    listed.write_text('# two of three\nmixed\n\nbright\n')
    dataset = ClassFolders(classes=str(listed), data_root=str(folders), data_prefix='train')
    assert dataset.metainfo['classes'] == ('mixed', 'bright')
    found = [
        (Path(dataset.get_data_info(i)['img_path']).parent.name, dataset.get_data_info(i)['gt_label']) for i in range(6)
    ]
    assert len(dataset) == 6 and set(found) == {('mixed', 0), ('bright', 1)}


def test_listed_classes_without_an_image_are_told(tmp_path: Path, monkeypatch):
    told: list[str] = []
    monkeypatch.setattr('mmpd.cls.data.print_log', lambda text, *_: told.append(text))
    for name in ('bright', 'dark'):
        (tmp_path / name).mkdir()
        (tmp_path / name / 'x.webp').touch()  # not among the extensions
    with pytest.raises(DataError, match='no image .*.png.* of a listed class'):
        ClassFolders(classes=('bright', 'dark'), data_root=str(tmp_path))
    (tmp_path / 'dark' / 'x.png').touch()
    assert len(ClassFolders(classes=('bright', 'dark'), data_root=str(tmp_path))) == 1
    assert len(told) == 1 and "no image of 1 listed classes: ['bright']" in told[0]


@pytest.mark.parametrize(
    ('classes', 'error', 'message'),
    [
        (('bright', 'absent'), DataError, 'absent'),
        (('bright', 'bright'), ConfigError, 'twice'),
        ((), ConfigError, '0 names'),
        ('nowhere.txt', ConfigError, 'no such file'),
    ],
)
def test_a_wrong_class_list_is_named(folders: Path, classes, error: type, message: str):
    with pytest.raises(error, match=message):
        ClassFolders(classes=classes, data_root=str(folders), data_prefix='train')


def accuracy(scores: list[list[float]], labels: list[int]) -> tuple[dict, PDAccuracy]:
    metric = PDAccuracy()
    metric.process(
        {},
        [
            dict(pred_score=torch.tensor(s), gt_label=torch.tensor([label]))
            for s, label in zip(scores, labels, strict=True)
        ],
    )
    return metric.compute_metrics(metric.results), metric


def test_mean_class_counts_each_class_alike():
    """Three of class 0, all right; one of class 1, wrong."""
    metrics, metric = accuracy([[0.9, 0.1]] * 4, [0, 0, 0, 1])
    assert metrics == dict(top1=0.75, mean_class=0.5)
    assert metric.per_class == {'0': dict(top1=1.0, images=3.0), '1': dict(top1=0.0, images=1.0)}


def test_top5_is_the_share_of_labels_among_the_five_highest_scores():
    scores = np.linspace(0.6, 0.0, 7).tolist()
    metrics, _ = accuracy([scores] * 7, list(range(7)))
    assert metrics == dict(top1=1 / 7, top5=5 / 7, mean_class=1 / 7)


def test_equal_scores_are_not_right_for_every_class():
    assert accuracy([[0.5, 0.5]] * 2, [0, 1])[0]['top1'] == 0.5


def test_a_network_that_has_diverged_is_right_for_no_class():
    assert accuracy([[float('nan')] * 2] * 2, [0, 1])[0]['top1'] == 0


@pytest.mark.parametrize(('chosen', 'told'), [('pd/top-1', True), ('pd/AP50', True), ('pd/mean_class', False)])
def test_a_metric_that_nothing_computes_chooses_no_checkpoint(tmp_path, chosen, told):
    stage = toy_chain(tmp_path, save_best=chosen, **{'data.num_classes': 3}).stages['teacher']
    found = config_findings(stage_config(stage, 'work', {}), 'teacher')
    assert [chosen in str(one) and 'pd/top1' in str(one) for one in found if 'save_best' in str(one)] == [True] * told
