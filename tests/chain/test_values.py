"""Values of another kind, options that need another one, and keys where nothing reads them are refused, not passed
over."""

from fractions import Fraction
from pathlib import Path

from mmpd.chain.chain import read_chain
from mmpd.chain.stage_config import stage_config
from mmpd.errors import ConfigError
from mmpd.evaluation.measure import read_config
from tests.toys import TERMS, toy_chain

import pytest
from mmengine.config import Config

STUDENT = 'stages.student.'


@pytest.fixture(scope='module')
def root(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp('values')


CASES: dict[str, tuple[dict, list[str]]] = {
    # of another kind: on a command line `pretrained=no` is a text, and a text is true
    'pretrained': ({'pretrained': 'no'}, ["pretrained = 'no'", 'True or False']),
    'ratio': ({'ratio': True}, ['ratio = True', 'an integer such as 2']),
    'guide_cache': ({'guide_cache': 'big'}, ["guide_cache = 'big'", 'a number']),
    'guide_cache below 0': ({'guide_cache': -5}, ['guide_cache = -5', 'MiB']),
    'guide_cache_dir': ({'guide_cache_dir': 5}, ['guide_cache_dir = 5', 'a text']),
    'custom_hooks': ({'custom_hooks': 'EMAHook'}, ["custom_hooks = 'EMAHook'", 'a list of dict']),
    'task': ({'task': ['sr']}, ["task = ['sr']", 'a text']),
    'schedule of a stage': ({STUDENT + 'schedule': 5}, ['stages.student.schedule = 5', 'a dict(…)']),
    'runner of a stage': ({STUDENT + 'runner': [1]}, ['stages.student.runner = [1]', 'a dict(…)']),
    'imports of a stage': (
        {STUDENT + 'runner': dict(custom_imports=dict(imports=['mine']))},
        ['stages.student.runner.custom_imports', 'top of the chain'],
    ),
    'overrides': ({STUDENT + 'overrides': 'wide'}, ["stages.student.overrides = 'wide'", 'a dict(…)']),
    'detector': ({STUDENT + 'detector': 5}, ['stages.student.detector = 5', 'mmdet::']),
    'guide': ({STUDENT + 'guide': ['teacher']}, ["stages.student.guide = ['teacher']", 'a text']),
    'checkpoint': ({STUDENT + 'checkpoint': 5}, ['stages.student.checkpoint = 5', 'a text']),
    'terms': ({STUDENT + 'terms': 'feature'}, ["stages.student.terms = 'feature'", 'a dict(…)']),
    'a term as a word': ({STUDENT + 'terms.feature': 'FeatureTerm'}, ["terms.feature = 'FeatureTerm'", 'dict(type=']),
    'a term without a type': ({STUDENT + 'terms.own': dict(loss_weight=1.0)}, ['terms.own', "dict(type='FeatureTerm'"]),
    'class names under another key': (
        {'data.train.metainfo': dict(CLASSES=('square',))},
        ["data.train.metainfo.CLASSES = ('square',)", 'metainfo.classes'],
    ),
    'milestones': ({'schedule.milestones': 8}, ['schedule.milestones = 8', 'a list of epochs']),
    'milestones as shares': ({'schedule.milestones': [0.5]}, ['schedule.milestones = [0.5]', 'whole numbers']),
    # what needs something else
    'half of no cache': ({'guide_cache_half': True}, ['guide_cache_half = True', 'guide_cache', 'guide_cache_dir']),
    'terms without a guide': ({'stages.teacher.terms': TERMS}, ['stages.teacher.terms', 'stages.teacher.guide']),
    'align without a guide': ({'stages.teacher.align': 'window'}, ["stages.teacher.align = 'window'", 'guide']),
    'a guide switched off alone': ({STUDENT + 'guide': None, STUDENT + 'init_from': None}, ['terms = None']),
    'a misspelt term switched off': ({STUDENT + 'terms.isdr': None}, ['terms.isdr = None', 'did you mean terms.isrd']),
    'the scope of another task': ({'default_scope': 'mmpretrain'}, ["default_scope = 'mmpretrain'", "'mmdet'"]),
    # at the top, where nothing reads them
    'batch_size at the top': ({'batch_size': 16}, ['batch_size = 16 at the top', 'data.batch_size']),
    'max_epochs at the top': ({'max_epochs': 36}, ['max_epochs = 36 at the top', 'schedule.max_epochs']),
    'hr_scale at the top': ({'hr_scale': (640, 480)}, ['hr_scale = (640, 480)', 'data.hr_scale']),
    'a part of a loader at the top': ({'train_dataloader': dict(num_workers=4)}, ['train_dataloader', 'data.num']),
    'a part of a model at the top': ({'model': dict(backbone=dict(depth=50))}, ['model at the top', '.overrides']),
    'a part of a loop at the top': ({'train_cfg': dict(max_epochs=9)}, ['train_cfg', 'schedule.max_epochs']),
    'degradations of no reduction': ({'ratio': 1, 'reduction': 'area+jpeg:30'}, ["'area+jpeg:30' does nothing"]),
    'align at the top': ({'align': 'resample'}, ["align = 'resample'", 'stages.<stage>.align']),
}  # fmt: skip


@pytest.mark.parametrize('case', CASES)
def test_refused_with_key_value_and_remedy(root, case):
    changes, expected = CASES[case]
    with pytest.raises(ConfigError) as refusal:
        chain = read_chain(toy_chain(root, **changes))
        _ = chain.stages['student'].network  # class names are read as it is made
    assert [part for part in expected if part not in str(refusal.value)] == [], str(refusal.value)


def test_a_config_without_stages_is_named(tmp_path):
    (tmp_path / 'bench.py').write_text("model = dict(type='RetinaNet')\n")
    with pytest.raises(ConfigError, match=r'bench.py has no stages: a chain'):
        read_chain(Config.fromfile(tmp_path / 'bench.py'))


def test_what_may_stand_there(root):
    """Names of the file's own, terms switched off that mmpd's configs have, and everything as if it were not there."""
    own = dict(max_epochs=1, hr_scale=[64, 48], batch_size=2, num_workers=3, isrd=None)
    own['stages.student.runner'] = dict(train_dataloader=dict(num_workers=3))
    absent = dict.fromkeys(('guide_cache', 'custom_hooks', 'guide_cache_dir', 'stages.teacher.terms'))
    off = {STUDENT + 'terms.fsr': None, 'stages.assistant.terms.feature': None}
    assert read_chain(toy_chain(root, **own, **absent, **off, guide_cache_half=False)).ratio == Fraction(2)
    cached = toy_chain(root, guide_cache=0.5, guide_cache_half=True)
    assert read_chain(cached).stages['student'].guide.name == 'assistant'


def test_none_is_as_if_it_were_not_there(root):
    keys = ('ratio', 'student_pyramid', 'reduction', 'pretrained', 'guide_cache', 'guide_cache_dir', 'task')
    inner = ('data.augment', 'custom_hooks', *(STUDENT + key for key in ('schedule', 'augment', 'align', 'runner')))
    unsaid, none = toy_chain(root), toy_chain(root, **dict.fromkeys((*keys, *inner)))
    for key in keys:
        unsaid.pop(key, None)
    said, silent = (stage_config(read_chain(one).stages['student'], 'w', {}) for one in (none, unsaid))
    assert said.to_dict() == silent.to_dict()
    assert said.model.align == 'auto' and said.model.ratio == '2'


def test_every_config_of_the_repository_passes():
    files = sorted((Path(__file__).parents[2] / 'configs').rglob('[!_]*.py'))
    chains = [config for file in files if '_base_' not in file.parts and 'stages' in (config := Config.fromfile(file))]
    assert len(chains) > 20
    pytest.importorskip('mmpretrain')
    import mmpd.cls.register  # noqa: F401

    for config in chains:
        read_chain(config)


@pytest.mark.parametrize(
    ('options', 'says'),
    [
        ({'max_epochs': 3}, '--cfg-options max_epochs: .* is not read: set schedule.max_epochs'),
        ({'lr': 0.1}, '--cfg-options lr: lr .* is not read'),
        ({'seed': 3}, 'set randomness.seed'),
        ({'optim_wraper.optimizer.lr': 0.1}, 'did you mean optim_wrapper'),
        ({'raito': 4}, 'did you mean ratio'),
        # a name of the file's own: its value is in other keys by now
        ({'data_root': '/elsewhere'}, 'data_root .* is not read: it is a name of its own file'),
        ({'terms.isrd': None}, 'terms .* is not read: set stages.<stage>.terms'),
        # as one writes them for mmdet
        ({'train_dataloader.batch_size': 4}, 'train_dataloader is made by the chain: set .*data.batch_size'),
        ({'train_cfg.max_epochs': 4}, 'train_cfg is made by the chain: set schedule.max_epochs'),
    ],
)
def test_an_option_that_nothing_reads_is_refused(root, options, says):
    file = root / 'chain.py'
    toy_chain(root, data_root='here', terms=dict(isrd=TERMS['isrd'])).dump(file)
    with pytest.raises(ConfigError, match=says):
        read_config(file, options)


def test_an_option_of_a_chain_does_nothing_to_the_config_of_one_network(tmp_path):
    """`mmpd test bench.py … --cfg-options ratio=4` measured at the old ratio without a word."""
    file = tmp_path / 'bench.py'
    file.write_text("model = dict(type='RetinaNet')\n")
    with pytest.raises(ConfigError, match=r'--cfg-options ratio: .*a key of a chain.*the config of its chain'):
        read_config(file, dict(ratio=4))
    config = read_config(file, {'model.bbox_head.num_classes': 3, 'env_cfg.cudnn_benchmark': True, 'work_dir': 'w'})
    assert config.model.bbox_head.num_classes == 3 and config.env_cfg.cudnn_benchmark
