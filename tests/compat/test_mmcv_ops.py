"""The stand-in is found where mmcv has no extension, gives way to a compiled one, and is honest about what it lacks."""

import importlib
import subprocess
import sys

import mmpd  # noqa: F401  (installs the stand-in; mmcv.ops cannot be imported before)
from mmpd.compat import MissingOperatorError, install, is_active

import mmcv
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
    with pytest.raises(MissingOperatorError, match=r"'box_iou_rotated'.*mim install mmcv"):
        box_iou_rotated(box, box)


def test_probing_the_module_finds_no_invented_dunders():
    extension = importlib.import_module('mmcv._ext')
    assert not hasattr(extension, '__path__')
    with pytest.raises(AttributeError):
        _ = extension.__wrapped__
