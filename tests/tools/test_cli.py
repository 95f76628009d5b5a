"""The command lines, called as functions, on one toy chain that is trained once."""

import importlib.util
import json
import runpy
import types
from pathlib import Path
from types import ModuleType

from mmpd.ablate import jobs
from mmpd.chain.chain import read_chain
from mmpd.check.finding import StageCheck, error
from mmpd.cli import parser_of
from mmpd.errors import ConfigError
from tests.toys import toy_chain, write_toy_voc

import cv2
import pytest
from mmengine.config import Config

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


def test_crops_that_cannot_be_written_are_one_line(tmp_path, monkeypatch, capsys) -> None:
    (tmp_path / 'file').touch()
    monkeypatch.setattr('sys.argv', ['voc_to_crops.py', str(write_toy_voc(tmp_path / 'voc')), str(tmp_path / 'file/x')])
    with pytest.raises(SystemExit, match='1'):
        runpy.run_path(str(ROOT / 'tools/voc_to_crops.py'), run_name='__main__')
    said = capsys.readouterr().err
    assert said.count('\n') == 1 and str(tmp_path / 'file') in said


def test_what_was_measured_is_shown_where_its_file_cannot_be_written(trained, tmp_path, capsys) -> None:
    bench = trained[1] / 'student' / 'bench.py'
    (tmp_path / 'file').touch()
    with pytest.raises(OSError):
        tool('test').main(
            [str(bench), str(bench.with_name('student_best.pth')), '--out', str(tmp_path / 'file/m.json')]
        )
    assert 'AP50 (area)' in capsys.readouterr().out


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


def test_cost_answers_a_budget_from_results(trained, tmp_path, capsys) -> None:
    chain, _ = trained
    for row, ap in (('student', 0.4), ('hr_plain', 0.6)):
        result = dict(row=row, seed=0, config=chain.stem, ratio='2', pyramid='fine', metrics=dict(test=dict(AP=ap)))
        (tmp_path / f'{row}_seed0.json').write_text(json.dumps(result))
    files = {name: tmp_path / f'costs.{name}' for name in ('csv', 'json', 'png')}
    written = ['--csv', files['csv'], '--json', files['json'], '--plot', files['png'], '--pyramid', 'fine']
    budget = ['--results', tmp_path, '--budget', 'pixels=1k,bytes=9M']
    tool('cost').main([*map(str, (chain, *written, *budget))])
    assert 'pixels binds' in capsys.readouterr().out
    content = json.loads(files['json'].read_text())
    assert content['budget'] == dict(
        limits=dict(pixels=1000.0, bytes=9e6), best='student 1/2 fine', binding=dict(pixels='hr_plain')
    )
    lines = files['csv'].read_text().splitlines()
    assert len(lines) == 1 + len(content['costs']) == 4 and cv2.imread(str(files['png'])) is not None
    with pytest.raises(ConfigError, match='--results'):
        tool('cost').main([str(chain), '--budget', 'pixels=1k'])


def test_infer_on_lr_and_on_hr_images(trained, tmp_path, capsys) -> None:
    """The stage's folder takes both kinds; a config takes what its pipeline reads. A bad file is skipped and told."""
    chain, work = trained
    hr = chain.parent / 'voc/JPEGImages/test_0.jpg'
    lr = tmp_path / 'small.png'
    cv2.imwrite(str(lr), cv2.resize(cv2.imread(str(hr)), (32, 24), interpolation=cv2.INTER_AREA))
    weights = str(work / 'student' / 'student_best.pth')
    old = tmp_path / 'old'  # trained before there was a deploy.json
    old.mkdir()
    for name in ('student_best.pth', 'deploy.py', 'bench.py'):
        (old / name).write_bytes((work / 'student' / name).read_bytes())
    for model in ([work / 'student'], [old], [work / 'student' / 'deploy.py', weights], [chain, weights]):
        out = tmp_path / str(len(list(tmp_path.iterdir())))
        images = [lr, hr] if len(model) == 1 else [hr if model[0] == chain else lr]
        arguments = [*map(str, (*model, *images)), '--out-dir', str(out), '--device', 'cpu']
        assert tool('infer').main(arguments) == 0
        assert f'({sum(image == hr for image in images)} reduced from HR)' in capsys.readouterr().out
        assert {path.stem for path in out.rglob('*.png')} == {image.stem for image in images}
    (tmp_path / 'broken.jpg').write_text('no image')
    arguments = [str(work / 'student'), str(tmp_path / 'broken.jpg'), str(lr), str(tmp_path / 'gone.jpg')]
    assert tool('infer').main([*arguments, '--out-dir', str(tmp_path / 'out'), '--device', 'cpu']) == 1
    said = capsys.readouterr()
    assert 'broken.jpg' in said.err and 'gone.jpg' in said.err and '2 skipped' in said.out
    assert [path.stem for path in (tmp_path / 'out').rglob('*.png')] == ['small']


def test_export_and_infer_without_weights(trained, tmp_path, capsys) -> None:
    chain, work = trained
    assert tool('export').main([str(work / 'student'), '--out', str(tmp_path / 'deploy'), '--int8', '--pack']) == 0
    said = capsys.readouterr().out
    assert 'same as PyTorch' in said and 'opset 17' in said and 'int8' in said and 'packed' in said
    assert {path.name for path in (tmp_path / 'deploy').iterdir()} == {
        'student.onnx', 'student.int8.onnx', 'student.packed.onnx', 'student.pth', 'deploy.py', 'deploy.json',
    }  # fmt: skip
    image = str(chain.parent / 'voc/JPEGImages/test_0.jpg')
    for model in ('deploy', *(f'deploy/student{kind}.onnx' for kind in ('', '.int8', '.packed'))):
        arguments = [
            str(tmp_path / model),
            image,
            '--out-dir',
            str(tmp_path / 'out'),
            '--format',
            'csv',
            '--score',
            '0',
        ]
        assert tool('infer').main(arguments) == 0
        assert (tmp_path / 'out/boxes.csv').read_text().count('test_0.jpg') > 0


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
    report = json.loads((tmp_path / 'demo/demo.json').read_text())
    assert list(report['networks']) == ['teacher', 'assistant', 'plain', 'student']
    tool('demo').main(arguments)
    second = capsys.readouterr().out
    assert second.count('finished before') == 4
    assert json.loads((tmp_path / 'demo/demo.json').read_text()) == report


def test_ablate_trains_reports_and_takes_up_what_is_done(trained, tmp_path, capsys) -> None:
    chain, work = trained
    given = [f'stages.{name}.checkpoint={work / name / f"{name}_best.pth"}' for name in ('teacher', 'assistant')]
    command = [str(chain), '--work-dir', str(tmp_path), '--rows', 'lr_init', 'student', '--cfg-options', *given]
    tool('ablate').main(command)
    shown = capsys.readouterr().out
    assert 'row 2/2: lr_init' in shown or 'row 2/2: student' in shown
    assert '| `student` |' in shown and 'against' in shown
    assert {path.name for path in (tmp_path / 'results').glob('*.json')} == {'lr_init_seed0.json', 'student_seed0.json'}
    tool('ablate').main(command)
    shown = capsys.readouterr().out
    assert '2 of 2 rows were measured before' in shown and 'Epoch' not in shown
    with pytest.raises(ConfigError, match='measured with other options'):
        tool('ablate').main([*command, 'reduction=lanczos'])


@pytest.mark.parametrize('option', [['--seeds', '0'], ['--jobs', '0'], ['--quick', '--quick-epochs', '-1']])
def test_ablate_refuses_counts_below_one(trained, option) -> None:
    with pytest.raises(ConfigError, match=f'{option[-2]} .*at least 1'):
        tool('ablate').main([str(trained[0]), *option])


def test_ablate_leaves_out_a_row_that_cannot_be_trained_unless_it_was_asked_for(
    trained, tmp_path, capsys, monkeypatch
) -> None:
    chain, asked = read_chain(Config.fromfile(trained[0])), {}
    monkeypatch.setattr(
        jobs,
        'check_stages',
        lambda stages, known, device: [
            StageCheck(name, '2', findings=[error(f'stages.{name}', 'no')] if name in asked else [])
            for name in (stage.name for stage in stages)
        ],
    )
    args = parser_of('ablate').parse_args(['x', '--work-dir', str(tmp_path)])
    args.work_dir = tmp_path
    asked = {'lr_response'}
    rows = jobs.checked_rows(args, chain)
    assert 'lr_response' not in rows and 'student' in rows and 'row lr_response is left out' in capsys.readouterr().out
    args.rows = ['lr_response']
    with pytest.raises(ConfigError, match='lr_response'):
        jobs.checked_rows(args, chain)
    args.rows, asked = None, {'assistant'}
    with pytest.raises(ConfigError, match='assistant'):
        jobs.checked_rows(args, chain)


def test_ablate_runs_rows_at_once_after_their_guides(trained, tmp_path, monkeypatch) -> None:
    chain = read_chain(Config.fromfile(trained[0]))
    running, most, order = [], [], []

    class Row:
        """A process that ends at the second look."""

        returncode = 0

        def __init__(self, job):
            self.job, self.looks = job, 0
            running.append(job)
            order.append(job[0])
            most.append(len(running))

        def poll(self):
            self.looks += 1
            if self.looks < 2:
                return None
            running.remove(self.job)
            return 0

    monkeypatch.setattr(jobs, 'start', lambda args, job: Row(job))
    monkeypatch.setattr(jobs, 'report_progress', lambda *args: None)
    monkeypatch.setattr(jobs, 'time', types.SimpleNamespace(time=lambda: 0.0, sleep=lambda seconds: None))
    args = parser_of('ablate').parse_args(['x', '--jobs', '2'])
    args.work_dir = args.out_dir = tmp_path
    jobs.run_all(args, chain, ['student', 'hr_plain', 'lr_init'])
    assert max(most) == 2 and sorted(order) == ['assistant', 'hr_plain', 'lr_init', 'student', 'teacher']
    assert order.index('teacher') < order.index('assistant') < order.index('student')
    assert set(order[:2]) == {'teacher', 'hr_plain'}  # neither needs the other


def test_ablate_starts_its_rows_in_processes_of_its_own(trained, tmp_path) -> None:
    """The real thing, once: two rows of a trained chain, each in a process."""
    chain, work = trained
    given = [f'stages.{name}.checkpoint={work / name / f"{name}_best.pth"}' for name in ('teacher', 'assistant')]
    command = [str(chain), '--work-dir', str(tmp_path), '--rows', 'lr_init', 'student', '--jobs', '2']
    tool('ablate').main([*command, '--cfg-options', *given])
    assert {path.name for path in (tmp_path / 'results').glob('*.json')} == {'lr_init_seed0.json', 'student_seed0.json'}
