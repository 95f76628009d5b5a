from types import SimpleNamespace

from mmpd.chain.chain import read_chain
from mmpd.chain.deploy import bench_config, deploy_config
from mmpd.chain.stage_config import stage_config
from mmpd.errors import CheckpointError, ConfigError
from mmpd.evaluation.deployed import measure_detector
from mmpd.evaluation.measure import measure, network_of, read_config
from mmpd.io.read import check_classes
from mmpd.run.progress import listening
from tests.check.coco_file import coco_set
from tests.toys import CLASSES, save_weights, toy_chain, toy_retinanet

import pytest
import torch
from mmengine.config import Config
from mmengine.logging import MMLogger


@pytest.fixture
def chain(tmp_path) -> Config:
    return toy_chain(tmp_path)


@pytest.fixture
def weights(tmp_path, chain) -> str:
    """Weights of the student, whose boxes are not all below the score threshold."""
    save_weights(read_chain(chain).stages['student'].network, tmp_path / 'student.pth')
    return str(tmp_path / 'student.pth')


def test_four_kinds_of_config_mean_the_same_network(tmp_path, chain) -> None:
    read = read_chain(chain)
    stage = stage_config(read.stages['student'], tmp_path, dict(assistant='a.pth'))
    networks = [
        network_of(config)
        for config in (chain, stage, bench_config(read.stages['student']), deploy_config(read.stages['student']))
    ]
    for network in networks:
        assert network.config.model == networks[0].config.model
        assert network.config.model.type == 'RetinaNet'
        assert network.config.test_evaluator.type == 'PDMetric'
    assert [network.knows_hr for network in networks] == [True, True, True, False]


def test_split_and_stage(chain) -> None:
    network = network_of(chain, 'teacher', 'val')
    assert network.name == 'teacher'
    assert network.config.test_dataloader.dataset.ann_file.endswith('val.txt')
    with pytest.raises(ConfigError, match="--stage boss.*'teacher', 'assistant', 'student'"):
        network_of(chain, 'boss')
    with pytest.raises(ConfigError, match='no chain'):
        network_of(bench_config(read_chain(chain).stages['student']), 'student')
    with pytest.raises(ConfigError, match='val_dataloader is missing'):
        without = bench_config(read_chain(chain).stages['student'])
        without.pop('val_dataloader')
        network_of(without, split='val')


def test_missing_config() -> None:
    with pytest.raises(ConfigError, match='no such file'):
        read_config('configs/none.py')


@pytest.mark.parametrize(
    ('text', 'says'),
    [
        ('ratio = = 3', 'SyntaxError'),
        ("_base_ = ['none.py']", 'none.py'),
        ("custom_imports = dict(imports=['no_such_module'], allow_failed_imports=False)", 'no_such_module'),
        ('ratio = 1 / 0', 'ZeroDivisionError'),
    ],
)
def test_a_config_that_cannot_be_read_is_one_line(tmp_path, text, says) -> None:
    (tmp_path / 'chain.py').write_text(text)
    with pytest.raises(ConfigError, match=rf"chain.py' cannot be read: .*{says}") as refusal:
        read_config(tmp_path / 'chain.py')
    assert '\n' not in str(refusal.value) and len(str(refusal.value)) < 400


def test_measure_is_the_same_through_chain_and_bench(chain, weights, tmp_path) -> None:
    heard = []
    with listening(lambda *event: heard.append(event)):
        from_chain = measure(chain, weights, show_dir=tmp_path / 'shown')
    assert from_chain == measure(bench_config(read_chain(chain).stages['student']), weights)
    assert {'AP', 'AP50', 'AP50_11', 'AP75', 'gt_small'} <= from_chain.metrics.keys()
    assert set(from_chain.per_class) <= set(CLASSES)
    assert [event[1:] for event in heard] == [('test', 1, 1)]
    assert len(list((tmp_path / 'shown').iterdir())) == 2


@pytest.mark.parametrize(
    ('changes', 'words'),
    [(dict(ratio=4), "ratio='2'.*ratio='4'"), ({'reduction': 'lanczos'}, "operator='area'.*operator='lanczos'"),
     ({'data.hr_scale': (96, 72)}, r'scale=.64, 48.*scale=.96, 72')],
)  # fmt: skip
def test_weights_are_not_measured_at_another_resolution_than_their_own(chain, weights, tmp_path, changes, words):
    """Measuring at twice the resolution works, and tells nothing about the network that ships."""
    bench_config(read_chain(chain).stages['student']).dump(tmp_path / 'bench.py')
    chain.merge_from_dict(changes)
    with pytest.raises(ConfigError, match=f'{words}.*--cfg-options.*bench.py'):
        measure(chain, weights)


def test_measure_reads_a_distillers_runner_checkpoint(chain, weights, tmp_path) -> None:
    plain = torch.load(weights)
    state = {f'student.{key}': value for key, value in plain['state_dict'].items()}
    torch.save(
        dict(state_dict={**state, 'terms.isrd.x': torch.zeros(1)}, meta=plain['meta'], optimizer={}),
        tmp_path / 'epoch_1.pth',
    )
    assert measure(chain, tmp_path / 'epoch_1.pth') == measure(chain, weights)


def test_weights_of_another_network_or_other_classes(chain, weights, tmp_path) -> None:
    with pytest.raises(CheckpointError, match='does not fit'):
        measure(chain, weights, stage='teacher')
    save_weights(toy_retinanet(), tmp_path / 'other.pth')
    content = torch.load(tmp_path / 'other.pth')
    content['meta']['dataset_meta']['classes'] = CLASSES[::-1]
    torch.save(content, tmp_path / 'other.pth')
    with pytest.raises(ConfigError, match='in that order'):
        check_classes(tmp_path / 'other.pth', CLASSES)
    check_classes(tmp_path / 'other.pth', CLASSES[::-1])


@pytest.mark.parametrize('wrapped', [False, True])
def test_a_coco_file_whose_order_moves_the_labels_is_not_measured_on(tmp_path, chain, weights, wrapped):
    """The numbers of one class stood beside the name of the other; only a training asked."""
    for names in (CLASSES, CLASSES[::-1]):
        part = coco_set(tmp_path, 'test', names, f'{names[0]}.json')
        chain.data.test = dict(type='ConcatDataset', datasets=[part]) if wrapped else part
        bench = bench_config(read_chain(chain).stages['student'])
        if names == CLASSES:
            assert measure(bench, weights).metrics['AP'] >= 0
            continue
        with pytest.raises(ConfigError, match='another order in .*disc.json'):
            measure(bench, weights)
        with pytest.raises(ConfigError, match='another order in .*disc.json'):
            measure_detector(SimpleNamespace(classes=CLASSES), bench)


def test_options_that_do_not_fit_the_config_are_one_line_that_names_them(tmp_path):
    (tmp_path / 'c.py').write_text("data = dict(augment=[dict(type='RandomFlip')], hr_scale=(64, 48))\n")
    with pytest.raises(ConfigError, match=r'--cfg-options data.augment.3.prob: .*data.augment.0.prob=1'):
        read_config(tmp_path / 'c.py', {'data.augment.3.prob': 1})
    assert read_config(tmp_path / 'c.py', {'data.augment.0.prob': 1}).data.augment[0].prob == 1


def test_a_value_from_the_environment_is_taken_without_a_word(tmp_path, monkeypatch):
    monkeypatch.setenv('MMPD_TEST_ROOT', 'here')
    (tmp_path / 'c.py').write_text("root = '{{$MMPD_TEST_ROOT:there}}'")
    logger, heard = MMLogger.get_instance('words_of_the_environment', log_level='INFO'), []
    logger.addFilter(lambda record: heard.append(record.getMessage()))
    assert read_config(tmp_path / 'c.py').root == 'here'
    logger.info('this one')
    assert heard == ['this one']


def test_a_module_beside_the_config_can_be_imported_by_it(tmp_path):
    (tmp_path / 'my_own_parts_beside.py').write_text('LOADED = True\n')
    imports = "custom_imports = dict(imports=['my_own_parts_beside'], allow_failed_imports=False)\n"
    (tmp_path / 'c.py').write_text(imports)
    read_config(tmp_path / 'c.py')
    import sys

    assert sys.modules['my_own_parts_beside'].LOADED
