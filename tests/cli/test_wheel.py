"""What one installs does the main job: a wheel, from another folder, without the checkout."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TINY = [
    *('demo_set.n_train=4', 'demo_set.n_val=2', 'demo_set.n_test=3', 'data.batch_size=2', 'log_level=WARNING'),
    *('demo_set.size=(80,72)', 'data.hr_scale=(80,72)', 'schedule.max_epochs=1', 'schedule.val_interval=1'),
]


def run(*command: str, **kwargs) -> str:
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False, **kwargs)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope='module')
def wheel(tmp_path_factory) -> Path:
    """Built from a copy, so that nothing is left in the checkout."""
    source = tmp_path_factory.mktemp('source')
    for name in ('mmpd', 'configs', 'models'):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns('__pycache__'))
    for name in ('setup.py', 'pyproject.toml', 'README.md', 'LICENSE'):
        shutil.copy(ROOT / name, source)
    run('-m', 'pip', 'wheel', '-q', '--no-deps', '--no-build-isolation', '-w', str(source / 'dist'), str(source))
    return next((source / 'dist').glob('*.whl'))


def test_the_wheel_carries_every_config_and_model_and_the_command(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    carried = {name.removeprefix('mmpd/.mim/') for name in names if name.startswith('mmpd/.mim/')}
    files = [*(ROOT / 'configs').rglob('*.py'), *(path for path in (ROOT / 'models').rglob('*') if path.is_file())]
    assert carried == {str(path.relative_to(ROOT)) for path in files}
    entry = next(name for name in names if name.endswith('entry_points.txt'))
    assert 'mmpd = mmpd.cli:main' in zipfile.ZipFile(wheel).read(entry).decode()


def test_an_installed_wheel_trains_and_measures_a_chain_from_another_folder(wheel, tmp_path):
    site, home = tmp_path / 'site', tmp_path / 'home'
    home.mkdir()
    run('-m', 'pip', 'install', '-q', '--no-deps', '--target', str(site), str(wheel))
    env = {**os.environ, 'PYTHONPATH': str(site), 'OMP_NUM_THREADS': '1', 'MMPD_DEMO_ROOT': 'demo/data'}
    where = run('-c', 'import mmpd; print(mmpd.__file__)', cwd=home, env=env)
    assert Path(where.strip()) == site / 'mmpd' / '__init__.py'
    run('-m', 'mmpd', 'demo', '--work-dir', 'demo', '--cfg-options', *TINY, cwd=home, env=env)
    student = home / 'demo' / 'student' / 'student_best.pth'
    run(
        '-m',
        'mmpd',
        'test',
        'mmpd::pd_demo.py',
        str(student),
        '--out',
        'm.json',
        '--cfg-options',
        *TINY,
        cwd=home,
        env=env,
    )
    report = json.loads((home / 'demo' / 'demo.json').read_text())
    assert json.loads((home / 'm.json').read_text())['metrics'] == report['networks']['student']['metrics']
