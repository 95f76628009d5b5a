"""The command `mmpd`: light until its arguments are read, and errors that are one line."""

import io
import os
import subprocess
import sys
from pathlib import Path

from mmpd.cli import COMMANDS, command, parser_of
from mmpd.cli.arguments import config_path, options
from mmpd.cli.doctor import is_writable
from mmpd.cli.errors import with_errors
from mmpd.errors import ConfigError, DataError
from mmpd.paths import configs_folder
from tests.toys import toy_chain

import pytest

HEAVY = ('torch', 'numpy', 'mmengine', 'mmdet', 'rich')


def python(code: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=False)


@pytest.mark.parametrize('argv', [['--help'], ['--version'], ['nonsense'], *([name, '--help'] for name in COMMANDS)])
def test_help_and_wrong_arguments_import_nothing_heavy(argv):
    code = (
        'import sys, mmpd.cli\n'
        f'try: mmpd.cli.main({argv})\n'
        'except SystemExit: pass\n'
        f'print([name for name in {HEAVY} if name in sys.modules] or "light", file=sys.stderr)'
    )
    assert python(code).stderr.splitlines()[-1] == 'light'


def test_a_missing_config_is_told_before_anything_heavy_is_imported():
    code = (
        'import sys; from mmpd.cli import command\nfrom mmpd.errors import ConfigError\n'
        "try: command('train')(['nothere.py'])\n"
        'except ConfigError as error: print(error)\n'
        f'print([name for name in {HEAVY} if name in sys.modules] or "light")'
    )
    said = python(code).stdout.splitlines()
    assert 'nothere.py' in said[0] and 'mmpd::' in said[0] and said[-1] == 'light'


@pytest.mark.parametrize('name', COMMANDS)
def test_every_command_tells_what_it_does(name):
    assert parser_of(name).description
    assert callable(command(name))


def test_configs_of_mmpd_are_found_by_name():
    assert config_path('mmpd::pd_voc.py') == configs_folder() / 'pd_voc.py'
    assert config_path('mmpd::classification/pd_voc_crops.py').is_file()
    with pytest.raises(ConfigError, match='mmpd::pd_vok.py'):
        config_path('mmpd::pd_vok.py')


def test_options_are_read_as_mmengine_reads_them():
    read = options(['ratio=4', 'data.hr_scale=(320,240)', 'stages.student.terms.isrd=None', 'a=[1,2]', 'b=3/2'])
    assert read == {
        'ratio': 4, 'data.hr_scale': (320, 240), 'stages.student.terms.isrd': None, 'a': [1, 2], 'b': '3/2',
    }  # fmt: skip
    assert options([]) == {}
    with pytest.raises(ConfigError, match='KEY=VALUE'):
        options(['ratio'])


def raising(error: BaseException):
    def main() -> int:
        raise error

    return main


def test_options_may_hold_dicts_as_a_config_writes_them():
    words = [
        "custom_hooks=[dict(type='EMAHook', momentum=1e-3)]",
        'ratio=4',
        "runner={'optim_wrapper.optimizer.lr': 1e-3}",
    ]
    assert options(words) == {
        'custom_hooks': [{'type': 'EMAHook', 'momentum': 1e-3}],
        'ratio': 4,
        'runner': {'optim_wrapper.optimizer.lr': 1e-3},
    }


def test_texts_keep_their_blanks_and_what_stands_in_quotes_is_text():
    words = ['a=/data/my set/voc', "b='/data/a, b/voc'", "c=['x, y', 'z']", "d='4'", 'e=1, 2', 'f=[-1, true]']
    assert options(words) == {
        'a': '/data/my set/voc', 'b': '/data/a, b/voc', 'c': ['x, y', 'z'], 'd': '4', 'e': [1, 2], 'f': [-1, True],
    }  # fmt: skip


def test_options_given_twice_both_count():
    args = parser_of('check').parse_args(['x.py', '--cfg-options', 'a=1', 'b=2', '--cfg-options', 'c=3'])
    assert args.cfg_options == ['a=1', 'b=2', 'c=3'] and parser_of('check').parse_args(['x.py']).cfg_options == []


def test_an_option_with_braces_in_its_text_stays_text():
    assert options(['data_root=/data/{a}/voc', 'ratio=4']) == {'data_root': '/data/{a}/voc', 'ratio': 4}


@pytest.mark.parametrize(
    'value', ["dict(type=open('f'))", '{name}', "[dict(type='A'", "dict('A')", '{[]: 1}', 'f(1,2)', '[1,2']
)
def test_an_option_that_is_no_literal_is_told_and_not_run(value):
    with pytest.raises(ConfigError, match='--cfg-options key='):
        options([f'key={value}'])


def test_errors_of_the_user_are_one_line_and_a_status(capsys, tmp_path):
    assert with_errors(raising(DataError('image 7 is empty'))) == 1
    assert capsys.readouterr().err == 'DataError: image 7 is empty\n'
    locked = tmp_path / 'file'
    locked.write_text('')
    assert with_errors(lambda: (locked / 'work').mkdir()) == 1
    said = capsys.readouterr().err
    assert said.count('\n') == 1 and str(locked / 'work') in said and '--work-dir' in said
    assert with_errors(raising(KeyboardInterrupt())) == 130
    assert 'goes on' in capsys.readouterr().err
    assert with_errors(lambda: None) == 0


def test_modules_of_a_stages_folder_are_found_where_the_command_is_run(monkeypatch, tmp_path, capsys):
    stage = tmp_path / 'work/student'
    stage.mkdir(parents=True)
    imports = "custom_imports = dict(imports=['parts_of_mine'], allow_failed_imports=False)\nmodel = dict()\n"
    for name in ('deploy.py', 'bench.py'):
        (stage / name).write_text(imports)
    (stage / 'student_best.pth').touch()
    (tmp_path / 'parts_of_mine.py').write_text('1 / 0\n')
    monkeypatch.setattr('sys.path', list(sys.path))
    assert with_errors(lambda: command('export')([str(stage)])) == 1
    said = capsys.readouterr().err
    assert said.count('\n') == 1 and 'parts_of_mine' in said and 'PYTHONPATH' in said
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ZeroDivisionError):
        command('export')([str(stage)])


def test_no_colour_where_none_is_wanted(monkeypatch, capsys):
    monkeypatch.setattr('sys.stderr.isatty', lambda: True)
    for wanted in ('', '1'):
        monkeypatch.setenv('NO_COLOR', wanted)
        with_errors(raising(DataError('x')))
        assert ('\033' in capsys.readouterr().err) == (not wanted)


@pytest.mark.parametrize('unbuffered', ['', '1'])
def test_a_reader_that_goes_away_is_no_error_of_ours(unbuffered):
    process = subprocess.Popen(
        [sys.executable, '-m', 'mmpd', 'doctor'], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, 'PYTHONUNBUFFERED': unbuffered},
    )  # fmt: skip
    assert process.stdout and process.stderr
    process.stdout.close()
    assert process.stderr.read() == ''
    process.wait()


def test_a_pipe_that_breaks_elsewhere_is_shown():
    with pytest.raises(BrokenPipeError):
        with_errors(raising(BrokenPipeError()))


def test_an_ablation_that_cannot_write_its_rows_is_stopped_before_it_trains(monkeypatch, tmp_path):
    toy_chain(tmp_path).dump(tmp_path / 'chain.py')
    monkeypatch.setattr('mmpd.ablate.jobs.ablate', lambda args, chain: pytest.fail('it trains'))
    (tmp_path / 'file').touch()
    with pytest.raises(FileExistsError):
        command('ablate')([str(tmp_path / 'chain.py'), '--out-dir', str(tmp_path / 'file')])


@pytest.mark.parametrize('stdin', [None, io.StringIO('\n')])
def test_no_image_on_stdin_is_told(monkeypatch, stdin, tmp_path):
    monkeypatch.setattr('sys.stdin', stdin)
    with pytest.raises(DataError, match='stdin is empty'):
        command('infer')(['voc_lite0_160', '-', '--out-dir', str(tmp_path)])


def test_errors_of_ours_keep_their_traceback(monkeypatch):
    with pytest.raises(ZeroDivisionError):
        with_errors(raising(ZeroDivisionError()))
    monkeypatch.setenv('MMPD_TRACEBACK', '1')
    with pytest.raises(DataError):
        with_errors(raising(DataError('x')))


def test_doctor_finds_out_whether_a_folder_can_be_written(tmp_path):
    assert is_writable(tmp_path / 'not' / 'there' / 'yet') and not (tmp_path / 'not').exists()
    (tmp_path / 'file').write_text('')
    assert not is_writable(tmp_path / 'file')
    assert not is_writable(Path('/proc/nothing'))


@pytest.mark.parametrize(
    'error',
    [
        FileNotFoundError(2, 'No such file or directory', 'a/b.jpg'),
        FileNotFoundError('Caught FileNotFoundError in DataLoader worker process 0.\nTraceback:\n  File "x.py"\n'
                          "FileNotFoundError: [Errno 2] No such file or directory: 'a/b.jpg'\n"),
    ],
)  # fmt: skip
def test_a_missing_file_is_one_line_from_a_worker_too(error, capsys):
    def fail() -> None:
        raise error

    assert with_errors(fail) == 1
    assert capsys.readouterr().err == "FileNotFoundError: No such file or directory: 'a/b.jpg'\n"
