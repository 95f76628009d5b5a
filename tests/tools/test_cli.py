"""The command lines, called as functions, on one toy chain that is trained once."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType

from tests.toys import toy_chain

import cv2
import pytest

ROOT = Path(__file__).resolve().parents[2]


def tool(name: str) -> ModuleType:
    """tools/<name>.py as a module; `tools` is no package, and `test` is one of Python's own."""
    spec = importlib.util.spec_from_file_location(f'mmpd_tool_{name}', ROOT / 'tools' / f'{name}.py')
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope='module')
def trained(tmp_path_factory) -> tuple[Path, Path]:
    """A chain config file, and the work dir where tools/train.py trained it."""
    root = tmp_path_factory.mktemp('cli')
    toy_chain(root).dump(root / 'chain.py')
    for image in (root / 'voc' / 'JPEGImages').glob('*.png'):  # stock mmdet, which deploy.py is for, reads .jpg alone
        cv2.imwrite(str(image.with_suffix('.jpg')), cv2.imread(str(image)))
        image.unlink()
    tool('train').main([str(root / 'chain.py'), '--work-dir', str(root / 'work')])
    return root / 'chain.py', root / 'work'


def test_test_takes_every_config_that_a_stage_has(trained, tmp_path, capsys) -> None:
    chain, work = trained
    student = work / 'student'
    metrics = []
    for config, checkpoint in (
        (chain, student / 'student_best.pth'),
        (student / 'bench.py', student / 'student_best.pth'),
        (student / 'student.py', student / 'epoch_1.pth'),
    ):
        tool('test').main([str(config), str(checkpoint), '--out', str(tmp_path / 'deep/out.json')])
        metrics.append(json.loads((tmp_path / 'deep/out.json').read_text())['metrics'])
    assert metrics[0] == metrics[1] == metrics[2]
    shown = capsys.readouterr().out
    for words in ('AP50 (area)', 'AP50 (11 points)', 'AP50:95', 'HR pixels', 'square', 'disc'):
        assert words in shown
    tool('test').main([str(student / 'deploy.py'), str(student / 'student_best.pth')])
    assert 'network pixels' in capsys.readouterr().out


def test_test_of_another_stage_and_split(trained, tmp_path) -> None:
    chain, work = trained
    out = tmp_path / 'out.json'
    checkpoint = work / 'teacher' / 'teacher_best.pth'
    tool('test').main([str(chain), str(checkpoint), '--stage', 'teacher', '--split', 'val', '--out', str(out)])
    written = json.loads(out.read_text())
    assert (written['network'], written['split']) == ('teacher', 'val')
    done = json.loads((work / 'teacher' / 'done.json').read_text())
    assert written['metrics']['AP50'] == pytest.approx(done['best_score'], abs=1e-6)


def test_cost_of_a_chain_and_of_one_network(trained, capsys) -> None:
    chain, work = trained
    tool('cost').main([str(chain)])
    shown = capsys.readouterr().out
    assert shown.count('student') == 2 and 'cheap' in shown and '32×24' in shown
    tool('cost').main([str(work / 'student' / 'deploy.py'), '--size', '64', '64'])
    assert '64×64' in capsys.readouterr().out


def test_infer_on_lr_and_on_hr_images(trained, tmp_path, capsys) -> None:
    chain, work = trained
    hr = chain.parent / 'voc/JPEGImages/test_0.jpg'
    lr = tmp_path / 'small.png'
    cv2.imwrite(str(lr), cv2.resize(cv2.imread(str(hr)), (32, 24), interpolation=cv2.INTER_AREA))
    weights = str(work / 'student' / 'student_best.pth')
    for config, image in ((work / 'student' / 'deploy.py', lr), (chain, hr)):
        tool('infer').main([str(config), weights, str(image), '--out-dir', str(tmp_path / 'out'), '--device', 'cpu'])
        assert 'seen at 32×24' in capsys.readouterr().out
        assert (tmp_path / 'out' / f'{image.stem}.png').is_file()


def test_demo_from_nothing_to_picture_and_again(tmp_path, capsys) -> None:
    options = [
        *('demo_set.n_train=4', 'demo_set.n_val=2', 'demo_set.n_test=3', 'data.batch_size=2', 'log_level=WARNING'),
        *('demo_set.size=(80,72)', 'data.hr_scale=(80,72)', 'schedule.max_epochs=1', 'schedule.val_interval=1'),
    ]
    arguments = ['--work-dir', str(tmp_path / 'demo'), '--cfg-options', *options]
    tool('demo').main(arguments)
    first = capsys.readouterr().out
    for words in ('HR teacher', 'HR assistant', 'LR, distilled', 'LR, undistilled', 'the undistilled one'):
        assert words in first
    assert 'mmengine' not in first  # the libraries' log is in the file
    assert cv2.imread(str(tmp_path / 'demo/demo.png')) is not None
    report = json.loads((tmp_path / 'demo/report.json').read_text())
    assert list(report['networks']) == ['teacher', 'assistant', 'plain', 'student']
    tool('demo').main(arguments)
    second = capsys.readouterr().out
    assert second.count('finished before') == 4
    assert json.loads((tmp_path / 'demo/report.json').read_text()) == report
