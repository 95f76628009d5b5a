"""A chain config, and the ordinary config of each of its stages. (What is refused: test_bad_config.py.)"""

from fractions import Fraction
from pathlib import Path

from mmpd.chain.chain import is_chain, read_chain
from mmpd.chain.deploy import bench_config, deploy_config
from mmpd.chain.stage_config import stage_config
from mmpd.errors import ConfigError
from tests.toys import CLASSES, toy_chain, toy_retinanet

import pytest
import torch
from mmdet.datasets.transforms import RandomFlip
from mmdet.models import ResNet
from mmdet.registry import MODELS
from mmengine.config import Config, read_base
from mmengine.optim import OptimWrapper
from mmengine.registry import PARAM_SCHEDULERS
from torch.optim import SGD

CHECKPOINTS = dict(teacher='/w/teacher_best.pth', assistant='/w/assistant_best.pth')


@pytest.fixture(scope='module')
def root(tmp_path_factory):
    return tmp_path_factory.mktemp('chain')


def shuffled(root) -> Config:
    config = toy_chain(root)
    config.stages = {name: config.stages[name] for name in ('student', 'assistant', 'teacher')}
    return config


def needs(stage) -> list[str]:
    return [other.name for other in stage.needs]


def test_stages_run_guides_first_however_they_are_written(root):
    chain = read_chain(shuffled(root))
    assert list(chain.stages) == ['teacher', 'assistant', 'student']
    assert [needs(stage) for stage in chain.stages.values()] == [[], ['teacher'], ['assistant']]


def test_a_stage_waits_for_what_it_starts_from(root):
    chain = read_chain(toy_chain(root, **{'stages.student.init_from': 'teacher'}))
    assert needs(chain.stages['student']) == ['assistant', 'teacher']
    given = read_chain(toy_chain(root, **{'stages.student.init_from': 'mine.pth'}))
    assert needs(given.stages['student']) == ['assistant']


def test_a_chain_is_for_its_distilled_lr_stage(root):
    config = toy_chain(root)
    plain = dict(config.stages.student, guide=None, init_from=None, terms=None)
    config.stages = dict(**config.stages, control=plain)
    assert read_chain(config).final.name == 'student'
    config.stages.pop('student')
    assert read_chain(config).final.name == 'control'
    config.stages.pop('control')
    assert read_chain(config).final.name == 'assistant'


def test_stages_share_nothing_that_a_config_can_change(root):
    stage = read_chain(toy_chain(root)).stages['student']
    stage.network.bbox_head.num_classes = 99
    stage_config(stage, 'w', CHECKPOINTS).model.student.bbox_head.num_classes = 99
    assert stage.network.bbox_head.num_classes == 2


@pytest.mark.parametrize('size', ['hr', 'lr'])
def test_an_lr_guide_is_refused(root, size):
    changes = dict(guide='student', size=size, terms=dict(f=dict(type='FeatureTerm')))
    with pytest.raises(ConfigError, match=r"stages\.again\.guide = 'student' sees LR images.*stages\.student\.size"):
        read_chain(toy_chain(root, **{'stages.again': dict(detector=toy_retinanet(), **changes)}))


def test_a_circle_is_refused(root):
    with pytest.raises(ConfigError, match=r"\['teacher', 'assistant', 'student'\] wait for each other"):
        read_chain(toy_chain(root, **{'stages.teacher.init_from': 'assistant'}))


@pytest.mark.parametrize(('ratio', 'expected'), [(2, '2'), ('3/2', '3/2'), (4, '4')])
def test_only_the_step_from_hr_to_lr_has_the_ratio(root, ratio, expected):
    chain = read_chain(toy_chain(root, ratio=ratio))
    models = {name: stage_config(chain.stages[name], 'w', CHECKPOINTS).model for name in chain.stages}
    assert models['teacher'].type == 'RetinaNet'
    assert models['assistant'].ratio == '1' and models['student'].ratio == expected
    assert chain.stages['student'].ratio == Fraction(ratio) and chain.stages['teacher'].ratio == 1


def test_each_guide_is_the_network_of_its_stage_with_its_weights(root):
    chain = read_chain(toy_chain(root))
    student = stage_config(chain.stages['student'], 'w', CHECKPOINTS).model
    assert student.guide == chain.stages['assistant'].network and student.guide_checkpoint == CHECKPOINTS['assistant']
    assert student.student == chain.stages['student'].network
    assert student.type == 'mmdet.Distiller'  # found from mmpretrain's scope too


def test_every_network_is_trainable_and_has_the_datas_classes(root):
    chain = read_chain(toy_chain(root))
    for name in chain.stages:
        model = chain.stages[name].network
        assert model.backbone.frozen_stages == -1 and model.backbone.norm_eval is False
        assert model.bbox_head.num_classes == len(CLASSES)


def test_the_student_pyramid_is_chosen_by_name(root):
    strides = {
        pyramid: read_chain(toy_chain(root, student_pyramid=pyramid)).stages['student'].network
        for pyramid in ('fine', 'cheap')
    }
    assert strides['fine'].bbox_head.anchor_generator.strides == [4, 8, 16, 32]
    assert strides['cheap'].bbox_head.anchor_generator.strides == [8, 16, 32, 64]


def hooks_of(config: Config) -> dict[str, dict]:
    return {hook['type'].removeprefix('mmdet.'): hook for hook in config.custom_hooks}


def test_hooks_of_a_stage_are_those_that_it_needs(root):
    chain = read_chain(toy_chain(root))
    hooks = {name: hooks_of(stage_config(chain.stages[name], 'w', CHECKPOINTS)) for name in chain.stages}
    for name in chain.stages:
        assert {'SampleSeedHook', 'FiniteLossHook'} <= hooks[name].keys()
        assert ('AFPHook' in hooks[name]) == (name != 'teacher')
        assert ('InitFromHook' in hooks[name]) == (name == 'student')
    assert hooks['student']['InitFromHook']['checkpoint'] == CHECKPOINTS['assistant']


def test_checkpoints_are_named_after_the_stage_and_the_best_is_kept(root):
    config = stage_config(read_chain(toy_chain(root, save_best='pd/AP')).stages['assistant'], 'w', CHECKPOINTS)
    hook = config.default_hooks.checkpoint
    assert (hook.type, hook.stage, hook.save_best) == ('mmdet.AtomicCheckpointHook', 'assistant', 'pd/AP')


def test_schedule_and_runner_of_a_stage_merge_over_the_chains(root):
    changes = {
        'stages.teacher.schedule': dict(max_epochs=7),
        'stages.teacher.runner': {'optim_wrapper.optimizer.lr': 0.5, 'train_dataloader.batch_size': 3},
    }
    chain = read_chain(toy_chain(root, **changes))
    teacher = stage_config(chain.stages['teacher'], 'w', {})
    assert teacher.train_cfg.max_epochs == 7 and teacher.param_scheduler[0].end == 2
    assert teacher.optim_wrapper.optimizer.lr == 0.5 and teacher.optim_wrapper.optimizer.momentum == 0.9
    assert teacher.train_dataloader.batch_size == 3
    assistant = stage_config(chain.stages['assistant'], 'w', CHECKPOINTS)
    assert assistant.train_cfg.max_epochs == 1 and assistant.optim_wrapper.optimizer.lr == 0.01


def test_hooks_of_one_stage_come_beside_the_chains(root):
    """A list that replaced them would leave out the start from the guide, without a word."""
    before = stage_config(read_chain(toy_chain(root)).stages['student'], 'w', CHECKPOINTS).custom_hooks
    changes = {'stages.student.runner': dict(custom_hooks=[dict(type='EMAHook')])}
    after = stage_config(read_chain(toy_chain(root, **changes)).stages['student'], 'w', CHECKPOINTS).custom_hooks
    assert after == [*before, dict(type='EMAHook')]


def test_making_a_stages_config_changes_nothing_in_the_chain(root):
    chain = read_chain(toy_chain(root))
    before = chain.config.to_dict()
    for name in chain.stages:
        assert (
            stage_config(chain.stages[name], 'w', CHECKPOINTS).to_dict()
            == stage_config(chain.stages[name], 'w', CHECKPOINTS).to_dict()
        )
        deploy_config(chain.stages[name]), bench_config(chain.stages[name])
    assert chain.config.to_dict() == before


def test_a_stages_config_is_no_chain_and_survives_a_file(root, tmp_path):
    config = stage_config(read_chain(toy_chain(root)).stages['student'], tmp_path, CHECKPOINTS)
    config.dump(tmp_path / 'student.py')
    read = Config.fromfile(tmp_path / 'student.py')
    assert not is_chain(read) and is_chain(toy_chain(root))
    assert read.to_dict() == config.to_dict()
    assert Path(config.work_dir) == tmp_path / 'student'


def test_the_deployed_config_is_plain_and_sees_native_lr_images(root):
    config = deploy_config(read_chain(toy_chain(root)).stages['student'])
    assert 'mmpd' not in config.pretty_text and 'PD' not in config.pretty_text
    pipeline = config.test_dataloader.dataset.pipeline
    assert [step.type for step in pipeline] == ['LoadImageFromFile', 'Resize', 'LoadAnnotations', 'PackDetInputs']
    assert tuple(pipeline[1].scale) == (32, 24)


def test_the_deployed_config_of_wrapped_test_sets_is_plain_too(root):
    config = toy_chain(root)
    config.data.test = dict(type='ConcatDataset', datasets=[config.data.test, config.data.test])
    dataset = deploy_config(read_chain(config).stages['student']).test_dataloader.dataset
    while 'datasets' in dataset:
        assert 'pipeline' not in dataset
        dataset = dataset.datasets[0]
    assert dataset.type == 'VOCDataset' and len(dataset.pipeline) == 4 and dataset.test_mode


def test_the_bench_config_measures_on_reduced_hr_images(root):
    config = bench_config(read_chain(toy_chain(root, ratio=4, reduction='lanczos')).stages['student'])
    steps = {step.type: step for step in config.test_dataloader.dataset.pipeline}
    assert tuple(steps['Resize'].scale) == (64, 48)
    assert (steps['ReduceResolution'].ratio, steps['ReduceResolution'].operator) == ('4', 'lanczos')
    assert config.custom_imports.imports == ['mmpd']


def test_a_stage_may_have_an_augmentation_of_its_own(root):
    own = dict(data=dict(augment=[dict(type='RandomFlip', prob=0.5)]))
    chain = read_chain(toy_chain(root, **{'stages.teacher.augment': [dict(type='PhotoMetricDistortion')], **own}))

    def kinds(name):
        return [
            step.type for step in stage_config(chain.stages[name], 'w', CHECKPOINTS).train_dataloader.dataset.pipeline
        ]

    assert 'PhotoMetricDistortion' in kinds('teacher') and 'RandomFlip' not in kinds('teacher')
    assert 'RandomFlip' in kinds('student') and 'PhotoMetricDistortion' not in kinds('student')


def test_a_deployed_network_with_parts_of_mmpd_imports_mmpd_and_another_does_not(root):
    chain = toy_chain(root)
    assert 'custom_imports' not in deploy_config(read_chain(chain).stages['student'])
    backbone = dict(_delete_=True, type='TimmBackbone', model_name='test_efficientnet')
    chain.stages.student.overrides = dict(backbone=backbone)
    assert deploy_config(read_chain(chain).stages['student']).custom_imports.imports == ['mmpd']
    chain.stages.student.overrides.backbone.type = 'mmdet.TimmBackbone'
    assert deploy_config(read_chain(chain).stages['student']).custom_imports.imports == ['mmpd']


def test_a_deployed_network_with_parts_of_ones_own_imports_what_the_chain_names(root, monkeypatch):
    """Left out, the network did not build in another process; an own term alone, which trains, leaves it plain."""
    monkeypatch.setattr(MODELS, '_module_dict', MODELS._module_dict.copy())
    MODELS.register_module(name='OwnNet', module=type('OwnNet', (ResNet,), dict(__module__='own_parts.net')))
    chain = toy_chain(root, custom_imports=dict(imports=['own_parts', 'mmpd.run.progress']))
    assert 'custom_imports' not in deploy_config(read_chain(chain).stages['student'])
    chain.stages.student.overrides = dict(backbone=dict(type='OwnNet'))
    stage = read_chain(chain).stages['student']
    assert deploy_config(stage).custom_imports.imports == ['own_parts']
    assert bench_config(stage).custom_imports.imports == ['mmpd', 'own_parts', 'mmpd.run.progress']


def test_mmdets_tools_train_bench_py_on_other_augmentations_each_epoch(root):
    """Nobody told its data set the epoch, so each image was augmented the same way for ever."""
    stage = read_chain(toy_chain(root)).stages['student']
    assert [hook.type for hook in bench_config(stage).custom_hooks] == ['mmdet.SampleSeedHook']
    assert 'custom_hooks' not in deploy_config(stage)


def test_what_a_pure_python_config_imports_is_in_no_dumped_config(root, tmp_path):
    """A class or function among the settings could not be written into a file, which stopped the run as it began."""
    config = toy_chain(root)
    config['RandomFlip'], config['read_base'] = RandomFlip, read_base
    config.data.augment = [dict(type=RandomFlip, prob=0.5)]
    stage = stage_config(read_chain(config).stages['teacher'], tmp_path, {})
    stage.dump(tmp_path / 'stage.py')
    again = Config.fromfile(tmp_path / 'stage.py')
    assert {'RandomFlip', 'read_base'} & set(again) == set()
    steps = again.train_dataloader.dataset.pipeline
    assert any(step['type'].endswith('transforms.RandomFlip') for step in steps)


@pytest.mark.parametrize('iterations', [0, 1, 2])
def test_the_whole_rate_is_reached_behind_any_warm_up(root, tmp_path, iterations):
    """mmengine's ramp over one iteration stays at its start, a hundredth of the rate."""
    stage = stage_config(
        read_chain(toy_chain(root, **{'schedule.warmup_iters': iterations})).stages['teacher'], tmp_path, {}
    )
    optim = OptimWrapper(SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0))
    ramps = [
        PARAM_SCHEDULERS.build(dict(one), default_args=dict(optimizer=optim)) for one in stage.param_scheduler[:-1]
    ]
    for _ in range(3):
        optim.optimizer.step()
        for ramp in ramps:
            ramp.step()
    assert optim.get_lr()['lr'] == [pytest.approx(1)]


def test_a_stage_has_the_same_config_each_time_it_is_asked_for(root, tmp_path):
    """The preflight asks before the training: merging once took `_delete_` out of the stage's own runner."""
    config = toy_chain(root)
    config.stages.teacher.runner = dict(optim_wrapper=dict(_delete_=True, optimizer=dict(type='AdamW', lr=1e-3)))
    stage = read_chain(config).stages['teacher']
    first, again = (stage_config(stage, tmp_path, {}) for _ in range(2))
    assert again.to_dict() == first.to_dict()
    assert again.optim_wrapper.optimizer == dict(type='AdamW', lr=1e-3)
