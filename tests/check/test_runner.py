"""What only a Runner would build is built by the preflight: a later stage's misspelt hook is found before the first."""

from collections import OrderedDict

from mmpd.chain.chain import read_chain
from mmpd.check.preflight import check_stage
from tests.toys import toy_chain

import pytest
from mmengine.config import Config
from mmengine.visualization import Visualizer

RUNNER = 'stages.student.runner'


@pytest.mark.parametrize(
    ('runner', 'says'),
    [
        (
            dict(custom_hooks=[dict(type='EarlyStoppingHook', paytience=1)]),
            ['custom_hooks: EarlyStoppingHook', 'paytience'],
        ),
        (dict(custom_hooks=[dict(type='EMAHook', momentun=0.5)]), ['custom_hooks: EMAHook', 'momentun']),
        (dict(custom_hooks=[dict(type='NoSuchHook')]), ['custom_hooks: NoSuchHook', 'NoSuchHook is not in']),
        (dict(default_hooks=dict(logger=dict(intervall=5))), ['default_hooks: LoggerHook', 'intervall']),
        (dict(optim_wrapper=dict(optimizer=dict(lrr=0.1))), ['optim_wrapper', 'lrr']),
        (dict(param_scheduler=[dict(type='StepLR', step=3)]), ['param_scheduler', 'step']),
        (dict(train_cfg=dict(max_epoch=3)), ['train_cfg', 'max_epoch']),
        (dict(val_cfg=dict(halved=True)), ['val_cfg', 'halved']),
        (dict(train_dataloader=dict(sampler=dict(shufle=True))), ['train_dataloader', 'shufle']),
        (dict(train_dataloader=dict(batch_sampler=dict(type='NoSuch'))), ['train_dataloader', 'NoSuch']),
        (dict(val_dataloader=dict(prefech_factor=4)), ['val_dataloader', 'prefech_factor']),
        (dict(test_evaluator=dict(type='PDMetric', classwize=True)), ['test_evaluator: PDMetric', 'classwize']),
        (dict(log_processor=dict(window=5)), ['log_processor', 'window']),
        (dict(default_hooks=dict(checkpoint=dict(intervall=5))), ['AtomicCheckpointHook', 'intervall = 5']),
        (dict(optim_wrapper=dict(clip_grad=dict(maxnorm=1))), ['optim_wrapper', 'max_norm']),
        (dict(train_dataloader=dict(num_workers=-1)), ['train_dataloader', 'num_workers']),
        (dict(val_dataloader=dict(prefetch_factor=4)), ['val_dataloader', 'prefetch_factor']),
        (dict(auto_scale_lr=dict(enabled=True)), ['auto_scale_lr', 'enabled']),
        (dict(auto_scale_lr=dict(enable=True)), ['auto_scale_lr', 'base_batch_size']),
        (
            dict(visualizer=dict(vis_backends=[dict(type='LocalVisBackend', sav_dir='x')])),
            ['vis_backends: LocalVisBackend', 'sav_dir'],
        ),
        (
            dict(custom_hooks=[dict(type='EarlyStoppingHook', monitor='pd/APx', rule='greater')]),
            ["EarlyStoppingHook.monitor = 'pd/APx'", 'pd/AP50'],
        ),
        (dict(randomness=dict(sed=1)), ['randomness', 'sed']),
        (dict(randomness=dict(seed=-1)), ['randomness', 'Seed must be between']),
        (dict(randomness=dict(seed=[1, 2])), ['randomness', 'list']),
        (dict(log_level='LOUD'), ['log_level', 'LOUD']),
        (dict(env_cfg=dict(cudnn_benchmrk=True)), ['env_cfg', 'cudnn_benchmrk']),
        (
            dict(train_dataloader=dict(persistent_workers=True, num_workers=1)),
            ['train_dataloader.persistent_workers', 'new epoch'],
        ),
        (dict(visualizer=dict(type='DetLocalVisualizer', line_widht=5)), ['visualizer', 'line_widht']),
    ],
    ids=lambda value: '-'.join(value) if isinstance(value, dict) else '',
)
def test_a_part_that_cannot_be_built_is_named(tmp_path_factory, runner, says):
    chain = read_chain(toy_chain(tmp_path_factory.getbasetemp(), **{RUNNER: runner}))
    (problem,) = (str(finding) for finding in check_stage(chain.stages['student'], {}).errors)
    assert all(word in problem for word in says), problem


def test_parts_that_a_runner_takes_pass_and_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runner = dict(
        custom_hooks=[dict(type='EMAHook', momentum=0.5), dict(type='ChannelsLastHook')],
        optim_wrapper=dict(accumulative_counts=2, clip_grad=dict(max_norm=1.0)),
        train_dataloader=dict(
            persistent_workers=False, pin_memory=True, batch_sampler=dict(type='AspectRatioBatchSampler')
        ),
        visualizer=dict(type='DetLocalVisualizer', vis_backends=[dict(type='LocalVisBackend')]),
        auto_scale_lr=dict(base_batch_size=16),
    )
    chain = read_chain(toy_chain(tmp_path, **{RUNNER: runner}))
    assert check_stage(chain.stages['student'], {}).errors == []
    assert [path.name for path in tmp_path.iterdir()] == ['voc']


def test_mmdets_own_runtime_file_passes(tmp_path, monkeypatch):
    """Its drawing hook asks for the newest visualizer as it is built, and a preflight comes before the first Runner."""
    monkeypatch.setattr(Visualizer, '_instance_dict', OrderedDict())
    config = toy_chain(tmp_path)
    runtime = tmp_path / 'runtime.py'
    runtime.write_text("_base_ = 'mmdet::_base_/default_runtime.py'\n")
    config.merge_from_dict(Config.fromfile(runtime).to_dict())
    assert check_stage(read_chain(config).stages['teacher'], {}).errors == []
    assert not Visualizer._instance_dict


@pytest.mark.parametrize('key', ['backbone', 'bakbone'])
def test_a_learning_rate_for_what_is_not_there_is_told(tmp_path_factory, key):
    paramwise = {'optim_wrapper.paramwise_cfg': dict(custom_keys={key: dict(lr_mult=0.1)})}
    chain = read_chain(toy_chain(tmp_path_factory.getbasetemp(), **paramwise))
    told = [str(one) for one in check_stage(chain.stages['student'], {}).findings if 'custom_keys' in str(one)]
    assert [f'custom_keys.{key}' in one for one in told] == ([] if key == 'backbone' else [True])


def test_a_filter_that_a_data_set_does_not_have_is_an_error(tmp_path_factory):
    """mmdet passes over it in silence."""
    options = {'data.train.filter_cfg': dict(filter_empty=True, min_size=1)}
    chain = read_chain(toy_chain(tmp_path_factory.getbasetemp(), **options))
    (problem,) = (str(one) for one in check_stage(chain.stages['student'], {}).errors)
    assert "data.train.filter_cfg has ['filter_empty']" in problem and 'filter_empty_gt' in problem


@pytest.mark.parametrize(
    ('option', 'value', 'says'),
    [
        ('serialise_data', False, "takes no ['serialise_data']"),
        ('type', 'PDVOCDatset', 'PDVOCDatset is not registered'),
    ],
)
def test_a_test_set_that_cannot_be_built_is_told_before_the_first_stage(tmp_path_factory, option, value, says):
    """It is built when all have finished."""
    chain = read_chain(toy_chain(tmp_path_factory.getbasetemp(), **{f'data.test.{option}': value}))
    told = [str(one) for one in check_stage(chain.stages['teacher'], {}).errors]
    assert any(one.startswith('data.test: ') and says in one for one in told), told
