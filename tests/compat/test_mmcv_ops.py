"""The stand-in is found where mmcv has no extension, gives way to a compiled one, and is honest about what it lacks."""

import ast
import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import mmpd  # noqa: F401  (installs the stand-in; mmcv.ops cannot be imported before)
from mmpd.compat import MissingOperatorError, install, is_active
from mmpd.compat.ops.missing import NEEDED_BY, needed_by

import mmcv
import mmcv.ops
import mmdet
import pytest
import torch


def test_mmdet_imports_after_mmpd_in_a_fresh_process():
    """What tools, spawned dataloader workers and a user's own script do."""
    code = 'import mmpd, mmdet.models; from mmpd.compat import is_active; print(is_active())'
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == 'True'


def test_install_twice_adds_one_finder():
    install()
    before = list(sys.meta_path)
    install()
    assert sys.meta_path == before


def test_hosts_see_an_mmcv_with_operators():
    """mmengine and mmcv ask for the extension by its spec, and Runner logs the compiler's version."""
    from mmcv.utils import collect_env
    from mmengine.utils.dl_utils.misc import mmcv_full_available

    assert mmcv_full_available()
    assert 'stand-in' in collect_env()['MMCV Compiler']


def test_compiled_extension_is_left_alone(monkeypatch, tmp_path):
    (tmp_path / '_ext.py').write_text("nms = 'compiled'\n")
    monkeypatch.setattr(mmcv, '_ext', None, raising=False)
    monkeypatch.setattr(mmcv, '__path__', [*mmcv.__path__, str(tmp_path)])
    monkeypatch.delitem(sys.modules, 'mmcv._ext', raising=False)
    importlib.invalidate_caches()

    install()
    assert importlib.import_module('mmcv._ext').nms == 'compiled'
    assert not is_active()


def test_broken_compiled_extension_reports_itself(monkeypatch, tmp_path):
    """One built for another torch must say so, not be replaced in silence."""
    (tmp_path / '_ext.py').write_text("raise ImportError('undefined symbol: _ZN2at')\n")
    monkeypatch.setattr(mmcv, '_ext', None, raising=False)
    monkeypatch.setattr(mmcv, '__path__', [*mmcv.__path__, str(tmp_path)])
    monkeypatch.delitem(sys.modules, 'mmcv._ext', raising=False)
    importlib.invalidate_caches()

    with pytest.raises(ImportError, match='undefined symbol'):
        importlib.import_module('mmcv._ext')


def test_missing_operator_names_itself_and_the_way_out():
    from mmcv.ops import box_iou_rotated

    box = torch.tensor([[5.0, 5.0, 4.0, 2.0, 0.3]])
    with pytest.raises(MissingOperatorError, match=r"'box_iou_rotated'.*MMRotate.*mim install mmcv"):
        box_iou_rotated(box, box)


def operators_in(file: Path) -> set[str]:
    """What a file of mmcv.ops asks the extension for, read from its source."""
    calls = [
        node
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call) and getattr(node.func, 'attr', '') == 'load_ext'
    ]
    return {name for call in calls for name in ast.literal_eval(call.args[1])}


def test_every_operator_is_provided_or_listed_with_what_needs_it():
    extension = importlib.import_module('mmcv._ext')
    names = {name for file in Path(mmcv.ops.__file__).parent.glob('*.py') for name in operators_in(file)}
    listed = {name for name in names if needed_by(name)}
    provided = {name for name in names if name in vars(extension)}
    assert listed | provided == names and not listed & provided
    page = (Path(__file__).parents[2] / 'docs' / 'operators.md').read_text()
    assert [name for name in NEEDED_BY if f'`{name}' not in page] == []


def test_every_operator_that_mmdets_box_detectors_import_is_provided():
    """By the files of mmcv.ops that mmdet's source imports from; CLRNet's lanes are the exception."""
    sources = [file.read_text() for file in (Path(mmdet.__file__).parent / 'models').rglob('*.py')]
    imports = [
        (node.module, alias.name)
        for source in sources
        if 'mmcv.ops' in source
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ImportFrom) and (node.module or '').startswith('mmcv.ops')
        for alias in node.names
    ]
    imports += [('mmcv.ops', 'DeformRoIPoolPack'), ('mmcv.ops', 'SyncBatchNorm')]  # named as types in its configs
    things = [getattr(importlib.import_module(module), name) for module, name in imports]
    files = {Path(inspect.getfile(thing)) for thing in things}
    needed = {name for file in files if file.stem != 'line_nms' for name in operators_in(file)}
    missing = {name for name in needed if name not in vars(importlib.import_module('mmcv._ext'))}
    assert {'carafe_forward', 'masked_im2col_forward', 'deform_conv_forward'} <= needed
    assert missing == {'nms_rotated', 'nms_quadri'}, 'of mmcv/ops/nms.py, for boxes that mmdet does not have'


def test_probing_the_module_finds_no_invented_dunders():
    extension = importlib.import_module('mmcv._ext')
    assert not hasattr(extension, '__path__')
    with pytest.raises(AttributeError):
        _ = extension.__wrapped__
