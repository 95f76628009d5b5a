"""A whole classification chain on drawn images, from the command line to the tested student."""

import json
import subprocess
import sys
from pathlib import Path

from mmpd.chain.chain import read_chain
from mmpd.errors import ConfigError
from mmpd.evaluation.measure import measure
from mmpd.report.page import write_page
from mmpd.run.seeds import run_many, summarise, summary_table
from tests.cls.toy_classifiers import build, toy_cnn, toy_vit, write_toy_folders

import pytest
import torch
from mmengine.config import Config

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope='module')
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs of an epoch: CNN teacher, ViT assistant, ViT student at ratio 2, on the config of the VOC crops."""
    root = tmp_path_factory.mktemp('chain')
    write_toy_folders(root / 'images')
    config = Config.fromfile(ROOT / 'configs/classification/pd_voc_crops.py')
    folders = {f'data.{split}.data_root': f'{root}/images' for split in ('train.dataset', 'val', 'test')}
    config.merge_from_dict(
        {
            **folders,
            'data.num_classes': 3,
            'data.hr_scale': (32, 32),
            'data.augment': [dict(type='RandomResizedCrop', scale=(32, 32))],
            'data.batch_size': 4,
            'data.num_workers': 0,
            'schedule': dict(max_epochs=1, warmup_iters=1, val_interval=1),
            'log_level': 'WARNING',
        }
    )
    networks = dict(teacher=toy_cnn(), assistant_kd=toy_vit(), assistant=toy_vit(), student=toy_vit())
    for name, network in networks.items():
        config.stages[name].detector, config.stages[name].overrides = network, {}
    config.stages.assistant.pop('schedule')
    run_many(read_chain(config), root / 'work', 2, check=True)
    return root / 'work'


def test_every_run_leaves_plain_students_and_a_summary(finished: Path):
    summary = json.loads((finished / 'runs.json').read_text())
    assert list(summary) == ['teacher', 'assistant_kd', 'assistant', 'student']
    top1 = summary['student']['top1']
    assert len(top1['values']) == 2 and 0 <= top1['mean'] <= 1
    states = [torch.load(finished / f'run{i}/student/student_last.pth', weights_only=True) for i in (0, 1)]
    small = build(toy_vit(16))
    small.load_state_dict(states[0]['state_dict'])  # plain keys, the position embedding of 16-pixel images
    assert states[0]['meta']['dataset_meta']['classes'] == ('bright', 'dark', 'mixed')
    assert not torch.equal(
        states[0]['state_dict']['head.layers.head.weight'], states[1]['state_dict']['head.layers.head.weight']
    )


@pytest.mark.parametrize(('file', 'metric'), [('bench.py', 'mean_class'), ('deploy.py', 'top1')])
def test_the_dumped_configs_measure_the_student(finished: Path, file: str, metric: str):
    folder = finished / 'run0/student'
    result = measure(Config.fromfile(folder / file), folder / 'student_last.pth')
    assert 0 <= result.metrics[metric] <= 100
    if file == 'bench.py':
        assert set(result.per_class) == {'bright', 'dark', 'mixed'}


def test_runs_are_summed_up_by_mean_and_sample_deviation():
    summary = summarise([dict(net=dict(top1=0.5)), dict(net=dict(top1=0.7))])
    assert summary['net']['top1']['mean'] == pytest.approx(0.6)
    assert summary['net']['top1']['sd'] == pytest.approx(0.02**0.5)
    assert summary_table(summary, ['top1', 'top5']).columns[1].header == 'top1'


def test_detection_needs_no_mmpretrain_and_classification_says_what_is_missing(tmp_path: Path):
    code = """
import sys
sys.modules['mmpretrain'] = None
import mmpd, mmpd.check.preflight, mmpd.cls.voc_crops
from mmengine.config import Config
from mmpd.chain.chain import read_chain
from mmpd.chain.stage_config import stage_config
from tests.toys import build_model, toy_chain
chain = read_chain(toy_chain(sys.argv[1]))
build_model(stage_config(chain.stages['teacher'], sys.argv[1], {}).model)
assert not any(name.startswith('mmpretrain.') for name in sys.modules)
try:
    Config.fromfile('configs/classification/pd_voc_crops.py')
except mmpd.errors.ConfigError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', code, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1', 'PATH': ''},
    )
    assert done.returncode == 0, done.stderr
    assert 'needs mmpretrain' in done.stdout and '.[cls]' in done.stdout


def test_a_report_is_refused_in_words(finished: Path):
    with pytest.raises(ConfigError, match='detection'):
        write_page(finished)
