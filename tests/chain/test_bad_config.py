"""Every wrong chain config is refused before any training, with the key, the value and what to change."""

import re
from fractions import Fraction
from pathlib import Path

from mmpd.chain.chain import read_chain
from mmpd.chain.keys import check_num_classes, check_sizes
from mmpd.chain.stage_config import stage_config
from mmpd.errors import ConfigError
from mmpd.run.stages import run_stages
from tests.toys import build_model, toy_chain, toy_retinanet

import pytest
from mmengine.config import Config


def config_with(root, changes: dict, remove: tuple[str, ...] = ()) -> Config:
    """The toy chain with dotted keys changed, and dotted keys removed."""
    config = toy_chain(root)
    for key in remove:
        *path, last = key.split('.')
        node = config
        for part in path:
            node = node[part]
        node.pop(last)
    config.merge_from_dict(changes)
    return config


def provoke(config: Config, root: Path) -> None:
    """What a run does before its first training step, for every stage."""
    chain = read_chain(config)
    for name in chain.stages:
        build_model(stage_config(chain.stages[name], root / 'work', {}).model)


@pytest.fixture(scope='module')
def root(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp('chain')


def test_the_chain_that_the_cases_change_is_good(root):
    provoke(toy_chain(root), root)


TOY = toy_retinanet()
PADDED = dict(data_preprocessor=dict(pad_size_divisor=32))
CASES: dict[str, tuple[dict, list[str]]] = {
    # keys that would do nothing
    'load_from': ({'load_from': 'a.pth'}, ["load_from = 'a.pth'", 'stages.<stage>.init_from', 'checkpoint']),
    'load_from of a stage': (
        {'stages.student.runner': dict(load_from='a.pth')},
        ["stages.student.runner.load_from = 'a.pth'", 'init_from'],
    ),
    'resume': ({'resume': True}, ['resume = True', 'same command']),
    'work_dir of a stage': ({'stages.student.runner': dict(work_dir='x')}, ['runner.work_dir', '--work-dir']),
    'misspelt key of a runner': (
        {'stages.student.runner': dict(optim_wraper=dict(type='X'))},
        ['stages.student.runner.optim_wraper', 'did you mean optim_wrapper'],
    ),
    'a key that no runner reads': ({'stages.student.runner': dict(colour=1)}, ['runner.colour', 'optim_wrapper']),
    'transforms as words': ({'data.augment': ["dict(type='RandomFlip')"]}, ['data.augment', 'give a list', '.0.prob']),
    'one transform': ({'data.augment': dict(type='RandomFlip')}, ['data.augment', 'give a list of transforms']),
    'transforms of a stage as a word': ({'stages.student.augment': 'flip'}, ["stages.student.augment = 'flip'"]),
    'pipeline in data': ({'data.pipeline': [dict(type='Resize')]}, ['data.pipeline', 'data.augment']),
    'workers in data': ({'data.workers': 4}, ['data.workers', 'data.num_workers']),
    'sampler in data': ({'data.sampler': dict(type='X')}, ['stages.<stage>.runner.train_dataloader.sampler']),
    'batch_sampler in data': ({'data.batch_sampler': dict(type='X')}, ['train_dataloader.batch_sampler']),
    'persistent_workers in data': ({'data.persistent_workers': True}, ['data.persistent_workers', 'resumed run']),
    'an unknown key in data': ({'data.colour': 'rgb'}, ['data.colour', 'hr_scale']),
    'a stage that is no dict': ({'stages.student': 'r18'}, ["stages.student = 'r18'", 'detector']),
    'another checkpoint hook': (
        {'default_hooks.checkpoint': dict(type='MyHook')},
        ["default_hooks.checkpoint.type = 'MyHook'", 'leave the type out'],
    ),
    'another checkpoint hook of a stage': (
        {'stages.student.runner': {'default_hooks.checkpoint.type': 'MyHook'}},
        ["default_hooks.checkpoint.type = 'MyHook'", 'leave the type out'],
    ),
    'epochs that the learning rate does not follow': (
        {'stages.student.runner': dict(train_cfg=dict(max_epochs=6))},
        ['stages.student.runner.train_cfg.max_epochs = 6', 'set stages.student.schedule.max_epochs'],
    ),
    # ratio
    'ratio below 1': ({'ratio': 0.5}, ['ratio = 0.5', 'below 1', '2 halves both sides']),
    'ratio zero': ({'ratio': 0}, ['ratio = 0', 'below 1']),
    'ratio negative': ({'ratio': -2}, ['ratio = -2', 'below 1']),
    'ratio no number': ({'ratio': 'two'}, ["ratio = 'two'", "such as '3/2'"]),
    'ratio over zero': ({'ratio': '2/0'}, ["ratio = '2/0'", 'no number']),
    'ratio NaN': ({'ratio': float('nan')}, ['ratio = nan', 'no number']),
    'ratio infinite': ({'ratio': float('inf')}, ['ratio = inf', 'no number']),
    'ratio leaves less than a cell': (
        {'ratio': 16},
        ['stages.student', '4×3 pixels', 'ratio = 16', 'one cell of its finest level has 4', 'lower ratio'],
    ),
    # sizes
    'HR smaller than the divisor': (
        {'data.hr_scale': (40, 24), 'ratio': 1, 'stages.teacher.overrides': PADDED},
        ['data.hr_scale = (40, 24)', 'pad_size_divisor = 32', 'raise data.hr_scale'],
    ),
    'HR scale a number': ({'data.hr_scale': 320}, ['data.hr_scale = 320', '(width, height)']),
    'HR scale negative': ({'data.hr_scale': (64, -48)}, ['data.hr_scale = (64, -48)', '(width, height)']),
    'batch of nothing': ({'data.batch_size': 0}, ['data.batch_size = 0', 'at least 1']),
    'workers negative': ({'data.num_workers': -1}, ['data.num_workers = -1', 'at least 0']),
    # keys
    'misspelt key of a chain': ({'ratios': 2}, ['ratios is no key', 'did you mean ratio?']),
    'misspelt key of a chain, long': ({'student_pyramids': 'fine'}, ['did you mean student_pyramid']),
    'misspelt key of data': ({'data.batchsize': 4}, ['data.batchsize', 'did you mean data.batch_size']),
    'misspelt key of a schedule': ({'schedule.max_epoch': 4}, ["unknown keys ['max_epoch']", 'max_epochs']),
    'a factor without milestones': ({'schedule.gamma': 0.5}, ['schedule.gamma = 0.5', 'milestones']),
    'unknown key of a stage': ({'stages.student.teacher': 'x'}, ["stages.student has unknown keys ['teacher']"]),
    'a model at the top': ({'model': TOY}, ['model at the top of a chain', 'stages.<stage>.detector']),
    'a dataloader at the top': (
        {'train_dataloader': dict(batch_size=4, dataset=dict(type='X'))},
        ['train_dataloader', 'data.batch_size'],
    ),
    'a scheduler at the top': ({'param_scheduler': [dict(type='MultiStepLR')]}, ['param_scheduler', 'schedule.warmup']),
    # schedule
    'no epochs': ({'schedule.max_epochs': 0}, ['schedule.max_epochs = 0', 'at least 1']),
    'half an epoch': ({'schedule.max_epochs': 0.5}, ['schedule.max_epochs = 0.5', 'whole number']),
    'no epochs in one stage': (
        {'stages.student.schedule': dict(max_epochs=-1)},
        ['stages.student.schedule.max_epochs = -1', 'at least 1'],
    ),
    'warm-up negative': ({'schedule.warmup_iters': -5}, ['schedule.warmup_iters = -5', '0 for none']),
    # stages
    'guide that is no stage': (
        {'stages.student.guide': 'professor'},
        ["stages.student.guide = 'professor' is no stage", "['teacher', 'assistant', 'student']"],
    ),
    'circle of guides': (
        {'stages.teacher.guide': 'assistant', 'stages.teacher.terms': dict(isrd=dict(type='ISRDTerm'))},
        ["['teacher', 'assistant', 'student'] wait for each other", 'circle'],
    ),
    'its own guide': ({'stages.assistant.guide': 'assistant'}, ['assistant', 'circle']),
    'circle through init_from': ({'stages.teacher.init_from': 'student'}, ['wait for each other', 'init_from']),
    'init_from that is no stage': (
        {'stages.student.init_from': 'professor'},
        ["stages.student.init_from = 'professor' is no stage"],
    ),
    'init_from guide without guide': (
        {'stages.teacher.init_from': 'guide'},
        ["stages.teacher.init_from = 'guide'", 'no guide'],
    ),
    'size unknown': ({'stages.student.size': 'small'}, ["stages.student.size = 'small'", "use 'hr' or 'lr'"]),
    'HR learns from LR': (
        {'stages.teacher.size': 'lr'},
        ["stages.assistant.guide = 'teacher'", 'LR images', "set stages.teacher.size = 'hr'"],
    ),
    'a stage called like a path': (
        {'stages': {'a/b': dict(detector=TOY, size='hr')}},
        ["'a/b'", 'letters, digits and _'],
    ),
    'no such detector': (
        {'stages.teacher.detector': 'retinanet_r5O.py'},
        ["detector = 'retinanet_r5O.py'", 'no such config file', 'mmdet::retinanet'],
    ),
    'pyramid unknown': ({'student_pyramid': 'tall'}, ["student_pyramid = 'tall'", "'fine', 'cheap'"]),
    'reduction unknown': ({'reduction': 'cubic'}, ["reduction = 'cubic'", "'area'"]),
    'task unknown': ({'task': 'poetry'}, ["task = 'poetry'", "'detection'"]),
    'align unknown': ({'stages.student.align': 'guess'}, ["align = 'guess'", "'window'"]),
    'no window at this ratio': (
        {'ratio': 3, 'stages.student.align': 'window'},
        ["align = 'window'", 'ratio 3', "align = 'resample'"],
    ),
    # classes and terms
    'wrong number of classes': (
        {'stages.student.overrides': dict(bbox_head=dict(num_classes=5))},
        ['stages.student.overrides.bbox_head.num_classes = 5', 'the data has 2 classes', 'leave it out'],
    ),
    'term of unknown type': (
        {'stages.student.terms.feature.type': 'FeatureTern'},
        ['terms.feature', 'FeatureTern', 'not in the'],
    ),
    'unknown argument of a term': (
        {'stages.student.terms.isrd.weight': 2.0},
        ['terms.isrd', "unexpected keyword argument 'weight'"],
    ),
    'unknown loss of a term': (
        {'stages.student.terms.feature.loss': 'l1'},
        ["terms.feature.loss = 'l1'", "'mse'"],
    ),
    'all terms off': (
        {f'stages.student.terms.{name}': None for name in ('feature', 'response', 'isrd')},
        ['terms is empty', 'at least one'],
    ),
    'batch augmentation': (
        {'stages.student.overrides': dict(data_preprocessor=dict(batch_augments=[
            dict(type='BatchSyncRandomResize', random_size_range=(32, 64))]))},
        ['student data_preprocessor.batch_augments', 'one size of a pair', 'None in overrides'],
    ),
}  # fmt: skip
REMOVED: dict[str, tuple[str, list[str]]] = {
    'no detector': ('stages.student.detector', ['stages.student.detector is missing', 'mmdet config']),
    'no size': ('stages.student.size', ['stages.student.size = None', "use 'hr' or 'lr'"]),
    'no terms': ('stages.student.terms', ['stages.student.terms is empty', "guide 'assistant'"]),
    'no schedule': ('schedule', ['schedule = None', 'docs/config.md']),
    'no epochs': ('schedule.max_epochs', ['schedule.max_epochs = None', 'at least 1']),
    'no data': ('data', ['data = None']),
    'no validation split': ('data.val', ['data.val = None', 'without pipeline']),
    'no HR scale': ('data.hr_scale', ['data.hr_scale = None', '(width, height)']),
}


@pytest.mark.parametrize('case', CASES)
def test_refused_with_key_value_and_remedy(root, case):
    changes, expected = CASES[case]
    with pytest.raises(ConfigError) as refusal:
        provoke(config_with(root, changes), root)
    assert [part for part in expected if part not in str(refusal.value)] == [], str(refusal.value)


@pytest.mark.parametrize('case', REMOVED)
def test_a_missing_key_is_named(root, case):
    key, expected = REMOVED[case]
    with pytest.raises(ConfigError) as refusal:
        provoke(config_with(root, {}, remove=(key,)), root)
    assert [part for part in expected if part not in str(refusal.value)] == [], str(refusal.value)


def test_no_stages_at_all(root):
    config = toy_chain(root)
    config.stages = {}
    with pytest.raises(ConfigError, match='stages is empty'):
        read_chain(config)


def test_helpers_of_a_config_file_are_no_mistakes(root):
    """A config file may name parts of itself; those names stay in the config."""
    read_chain(config_with(root, {'terms': dict(a=1), 'small': dict(neck=1), 'train_cfg': dict(assigner=1), 'head': 3}))


@pytest.mark.parametrize(
    ('name', 'value'),
    [
        ('stage', 'student'),
        ('stage', dict(detector='x')),
        ('ratios', (2, 4)),
        ('tasks', ['detection']),
        ('schedules', dict(short=1)),
        ('datas', [1]),
        ('Schedule', Config),  # an imported name of a pure-Python config
        ('load_from', None),
        ('resume', False),
    ],
)
def test_helper_names_and_imported_names_are_no_misspelt_keys(root, name, value):
    config = toy_chain(root)
    config[name] = value
    read_chain(config)


@pytest.mark.parametrize(
    ('wrong', 'right', 'value'),
    [('raito', 'ratio', 4), ('reductoin', 'reduction', 'area'), ('guide_cach', 'guide_cache', 9)],
)
def test_a_misspelt_key_is_refused(root, wrong, right, value):
    config = toy_chain(root)
    config.pop(right, None)
    config[wrong] = value
    with pytest.raises(ConfigError, match=f'{wrong} is no key of a chain: did you mean {right}'):
        read_chain(config)


def test_mmdets_runtime_file_is_a_base_of_a_chain(root):
    """It has a stock CheckpointHook and a named visualizer."""
    config = toy_chain(root)
    runtime = root / 'runtime.py'
    runtime.write_text("_base_ = 'mmdet::_base_/default_runtime.py'\n")
    theirs = Config.fromfile(runtime)
    config.merge_from_dict(theirs.to_dict())
    stage = read_chain(config).stages['student']
    hook = stage_config(stage, 'work', {}).default_hooks.checkpoint
    assert hook.type == 'mmdet.AtomicCheckpointHook' and hook.stage == 'student'
    assert hook.interval == theirs.default_hooks.checkpoint.interval


def test_mmengines_hook_in_a_stage_gives_its_arguments_only(root):
    config = toy_chain(root)
    config.stages.student.runner = dict(default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=3)))
    hook = stage_config(read_chain(config).stages['student'], 'work', {}).default_hooks.checkpoint
    assert hook.type == 'mmdet.AtomicCheckpointHook' and hook.stage == 'student' and hook.interval == 3


def test_types_given_as_classes_are_written_by_name(root):
    from mmdet.datasets.transforms import RandomFlip
    from mmdet.registry import TRANSFORMS

    config = toy_chain(root)
    config.data.augment = [dict(type=RandomFlip, prob=0.5)]
    stage = read_chain(config).stages['student']
    made = stage_config(stage, 'work', {})
    assert 'RandomFlip' in made.pretty_text and '<class' not in made.pretty_text
    kinds = [step['type'] for step in made.train_dataloader.dataset.pipeline]
    (named,) = (kind for kind in kinds if kind.endswith('RandomFlip'))
    assert TRANSFORMS.get(named) is RandomFlip


def test_every_config_of_the_repository_passes_these_checks():
    configs = Path(__file__).parents[2] / 'configs'
    files = sorted([*configs.glob('pd_*.py'), *configs.glob('rkd_*.py')])
    assert len(files) > 5
    for file in files:
        chain = read_chain(Config.fromfile(file))
        for name in chain.stages:
            stage_config(chain.stages[name], 'work', {})


def test_a_stage_asked_for_by_a_wrong_name_or_too_early(root, tmp_path):
    chain = read_chain(toy_chain(root))
    with pytest.raises(ConfigError, match=re.escape("--stage pupil: the stages of this chain are ['teacher'")):
        run_stages(chain, tmp_path, only='pupil')
    with pytest.raises(
        ConfigError, match=r"stage student needs \['assistant'\], not finished in .*stages.assistant.ch"
    ):
        run_stages(chain, tmp_path, only='student', announce=False)
    assert not list(tmp_path.glob('*/[!.]*'))  # a lock's file at most


def test_launchers_that_cannot_be(root, tmp_path, monkeypatch):
    chain = read_chain(toy_chain(root))
    for name in ('RANK', 'SLURM_PROCID'):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConfigError, match='--launcher pytorch, but RANK is not set: start with torchrun'):
        run_stages(chain, tmp_path, launcher='pytorch')
    with pytest.raises(ConfigError, match='--launcher slurm, but SLURM_PROCID is not set: start with srun'):
        run_stages(chain, tmp_path, launcher='slurm')
    monkeypatch.setenv('RANK', '1')
    monkeypatch.setenv('WORLD_SIZE', '2')
    with pytest.raises(ConfigError, match='torchrun started 2 processes: add --launcher pytorch'):
        run_stages(chain, tmp_path)


def test_sizes_at_the_limit():
    """A side of exactly one cell is still allowed, and padding of half of what this network sees."""
    model = dict(bbox_head=dict(strides=[8, 16]))
    check_sizes('student', (64, 32), Fraction(4), model)
    with pytest.raises(ConfigError, match='finest level has 8'):
        check_sizes('student', (64, 32), Fraction(5), model)
    model['data_preprocessor'] = dict(pad_size_divisor=32)
    for size, ratio in (((32, 16), 1), ((64, 32), 2), ((64, 31), 1), ((64, 48), 2)):
        check_sizes('student', size, Fraction(ratio), model)
    for size, ratio in (((32, 15), 1), ((48, 32), 2), ((33, 31), 1)):
        with pytest.raises(ConfigError, match='pad_size_divisor = 32: more than half'):
            check_sizes('student', size, Fraction(ratio), model)
    check_sizes('student', (2, 2), Fraction(2), {})  # a network without a dense head decides for itself


def test_a_proposal_head_has_its_own_class_count():
    check_num_classes('a', dict(rpn_head=dict(num_classes=1), roi_head=[dict(num_classes=3)]), 3)
    with pytest.raises(ConfigError, match='roi_head.0.num_classes = 3'):
        check_num_classes('a', dict(roi_head=[dict(num_classes=3)]), 2)
