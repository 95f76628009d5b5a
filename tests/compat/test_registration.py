"""`import mmpd` is light, and mmpd is in mmdet's registries whoever is imported first."""

import subprocess
import sys

import pytest


def python(code: str) -> str:
    done = subprocess.run([sys.executable, '-W', 'ignore', '-c', code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()[-1]


def test_importing_mmpd_imports_nothing_heavy():
    heavy = ('torch', 'numpy', 'mmengine', 'mmcv', 'mmdet')
    assert python(f'import sys, mmpd; print([name for name in {heavy} if name in sys.modules] or "light")') == 'light'


@pytest.mark.parametrize(
    'order',
    [
        'import mmpd; from mmdet.registry import MODELS',
        'from mmdet.registry import MODELS; import mmpd',
        'import mmpd; from mmdet.registry import MODELS; MODELS.get("RetinaNet"); import mmpd.register',
        'import mmpd.compat.mmcv_ops as ops; ops.install(); from mmdet.registry import MODELS; MODELS.get("RetinaNet")',
    ],
    ids=['mmpd first', 'mmdet first', 'again', 'looked up before'],
)
def test_types_are_found_after_an_import_of_mmpd(order):
    assert python(f'{order}; print(MODELS.get("Distiller").__name__)') == 'Distiller'


def test_a_dumped_config_needs_no_other_line_than_custom_imports(tmp_path):
    """As every stage's config has been dumped since the first version."""
    (tmp_path / 'student.py').write_text("custom_imports = dict(imports=['mmpd'], allow_failed_imports=False)\n")
    code = (
        'from mmengine.config import Config; from mmengine.registry import HOOKS, init_default_scope; '
        f'Config.fromfile({str(tmp_path / "student.py")!r}); init_default_scope("mmdet"); '
        'print(HOOKS.get("mmdet.AFPHook").__name__)'
    )
    assert python(code) == 'AFPHook'


def test_mmengine_reads_checkpoints_as_data_once_mmpd_is_registered():
    code = (
        'import mmpd; from mmdet.registry import MODELS; MODELS.get("Distiller"); '
        'from mmengine.runner.checkpoint import CheckpointLoader; '
        'print(CheckpointLoader._schemes[""].__module__)'
    )
    assert python(code) == 'mmpd.compat.mmengine_loading'
