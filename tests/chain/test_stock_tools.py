"""mmdet's own inferencer and command-line tools on `deploy.py` and `bench.py`, without a word added to either.

The tools are run as a user does, from mmdet's wheel. Those on deploy.py run in a process in which `mmpd` is an empty
package (but for the stand-in for mmcv's operators): invariant 5.
"""

import json
import pickle
import runpy
import subprocess
import sys
from pathlib import Path

import mmpd
from mmpd.chain.chain import read_chain
from tests.check.coco_file import coco_set
from tests.io.stage_folder import write_stage
from tests.toys import toy_chain

import cv2
import mmdet
import pytest
from mmengine.config import Config

TOOLS = Path(mmdet.__file__).parent / '.mim' / 'tools'

STOCK = """
import contextlib, io, json, runpy, sys, types, warnings
warnings.simplefilter('ignore')
package = types.ModuleType('mmpd')
package.__path__ = [sys.argv[1]]
sys.modules['mmpd'] = package
from mmpd.compat.mmcv_ops import install
install()
import torch
torch.set_num_threads(1)
from mmdet.apis import DetInferencer
found = {}
for name, run in json.loads(sys.argv[2]).items():
    try:
        if name == 'inferencer':
            result = DetInferencer(run[0], run[1], device='cpu', show_progress=False)(run[2], out_dir=run[3])
            found[name] = result['predictions'][0]
            continue
        sys.argv = run
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            runpy.run_path(run[0], run_name='__main__')
        found[name] = printed.getvalue()
    except BaseException as error:
        found[name] = f'FAILED {type(error).__name__}: {error}'
found['modules'] = [name for name in sys.modules if name.startswith('mmpd.') and not name.startswith('mmpd.compat')]
print('RESULT', json.dumps(found))
"""


def as_jpg(voc: Path) -> None:
    """mmdet's VOC data set reads `.jpg` only."""
    for path in (voc / 'JPEGImages').glob('*.png'):
        cv2.imwrite(str(path.with_suffix('.jpg')), cv2.imread(str(path)))


@pytest.fixture(scope='module')
def folders(tmp_path_factory):
    """Stage folders of a student on VOC images and of one on a COCO file."""
    root = tmp_path_factory.mktemp('tools')
    config = toy_chain(root)
    as_jpg(root / 'voc')
    voc = write_stage(read_chain(config), root / 'on_voc')
    for split in ('train', 'val', 'test'):
        config.data[split] = coco_set(root, split)
    return voc, write_stage(read_chain(config), root / 'on_coco')


def commands(folder: Path, out: Path, config: str = 'deploy.py') -> dict[str, list[str]]:
    """name → command line of each of mmdet's tools; what they draw lands in `out`."""
    file, weights = str(folder / config), str(folder / 'student_best.pth')
    analysis = TOOLS / 'analysis_tools'
    pkl = str(out / 'found.pkl')
    work = str(out / 'work')
    lines = {
        'test': [TOOLS / 'test.py', file, weights, '--work-dir', work, '--show-dir', 'shown', '--out', pkl],
        'get_flops': [analysis / 'get_flops.py', file, '--num-images', '1'],
        'browse_dataset': [analysis / 'browse_dataset.py', file, '--output-dir', out / 'browsed', '--not-show'],
        'analyze_results': [analysis / 'analyze_results.py', file, pkl, str(out / 'analysed'), '--topk', '1'],
        'eval_metric': [analysis / 'eval_metric.py', file, pkl],
    }
    return {name: [str(word) for word in line] for name, line in lines.items()}


@pytest.fixture(scope='module')
def stock(folders, tmp_path_factory):
    """What each client said of deploy.py, and the folder of what they wrote."""
    voc, coco = folders
    out = tmp_path_factory.mktemp('out')
    runs = {'inferencer': [str(voc / 'deploy.py'), str(voc / 'student_best.pth')]}
    runs['inferencer'] += [str(voc.parents[1] / 'voc/JPEGImages/test_0.jpg'), str(out / 'inferred')]
    runs |= {name: line for name, line in commands(voc, out).items() if name != 'eval_metric'}
    on_coco = commands(coco, out / 'coco')
    (out / 'coco').mkdir()
    runs |= {'test_coco': on_coco['test'], 'eval_metric': on_coco['eval_metric']}
    command = [sys.executable, '-c', STOCK, str(Path(mmpd.__file__).parent), json.dumps(runs)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=out)
    assert 'RESULT ' in result.stdout, result.stderr[-3000:]
    return json.loads(result.stdout.split('RESULT ')[1]), out


def test_no_tool_imports_mmpd(stock):
    assert stock[0]['modules'] == []


def test_det_inferencer_finds_and_draws(stock):
    found, out = stock
    assert set(found['inferencer']) == {'labels', 'scores', 'bboxes'} and found['inferencer']['scores']
    assert [path.name for path in (out / 'inferred/vis').iterdir()] == ['test_0.jpg']


def test_test_py_measures_and_draws_every_image(stock):
    found, out = stock
    assert not found['test'].startswith('FAILED'), found['test']
    assert {path.name for path in out.glob('work/*/shown/*')} == {'test_0.jpg', 'test_1.jpg'}
    predictions = pickle.loads((out / 'found.pkl').read_bytes())
    assert all(len(one['pred_instances']['scores']) for one in predictions)


def test_get_flops_counts_on_an_lr_image(stock):
    text = stock[0]['get_flops']
    assert 'Flops: ' in text and '(24, 32)' in text, text


def test_browse_dataset_draws_the_training_images_at_their_lr_size(stock):
    found, out = stock
    assert not found['browse_dataset'].startswith('FAILED'), found['browse_dataset']
    drawn = sorted((out / 'browsed').iterdir())
    assert [path.name for path in drawn] == [f'train_{index}.jpg' for index in range(4)]


def test_analyze_results_sorts_the_images(stock):
    found, out = stock
    assert not found['analyze_results'].startswith('FAILED'), found['analyze_results']
    assert {path.parent.name for path in out.glob('analysed/*/*.jpg')} == {'good', 'bad'}


def test_eval_metric_reads_the_truth_of_a_coco_file(stock):
    assert not stock[0]['test_coco'].startswith('FAILED'), stock[0]['test_coco']
    text = stock[0]['eval_metric']
    assert "'coco/bbox_mAP_50'" in text, text


@pytest.mark.parametrize('tool', ['test', 'get_flops', 'browse_dataset'])
def test_the_tools_take_bench_py_too(tool, folders, tmp_path, monkeypatch):
    """In this process: bench.py reduces HR images, so it imports mmpd."""
    line = commands(folders[0], tmp_path, 'bench.py')[tool]
    monkeypatch.setattr(sys, 'argv', line)
    monkeypatch.chdir(tmp_path)
    runpy.run_path(line[0], run_name='__main__')
    names = {'test': 'work/*/shown/*', 'browse_dataset': 'browsed/*'}
    if tool in names:
        assert len(list(tmp_path.glob(names[tool]))) == dict(test=2, browse_dataset=4)[tool]


def test_the_training_set_stands_bare_where_the_chain_seeds_it(folders):
    """analyze_results.py reads `train_dataloader.dataset.pipeline`."""
    for name in ('bench.py', 'deploy.py'):
        dataset = Config.fromfile(folders[1] / name).train_dataloader.dataset
        assert dataset.type == 'CocoDataset' and dataset.pipeline[-1].type == 'PackDetInputs'
