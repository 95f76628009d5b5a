"""A module that is imported when it is used."""

import importlib
import sys
from importlib.util import find_spec

from mmpd.compat import late_imgaug as late

import pytest

SOURCE = """
import {0}.augmenters as iaa
from {0}.augmentables.lines import LineString
def use(n):
    return iaa.Flip(n), LineString(n).double(), iaa.Flip.kind
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package laid out as imgaug, under a name of its own."""
    name = 'someaug'
    for folder in ('', 'augmentables'):
        (tmp_path / name / folder).mkdir(exist_ok=True)
        (tmp_path / name / folder / '__init__.py').write_text('')
    (tmp_path / name / 'augmenters.py').write_text("class Flip(int):\n    kind = 'flip'\n")
    (tmp_path / name / 'augmentables' / 'lines.py').write_text(
        'class LineString(int):\n    def double(self):\n        return 2 * self\n'
    )
    (tmp_path / name / 'augmentables' / 'segmaps.py').write_text('')
    (tmp_path / 'lanes.py').write_text(SOURCE.format(name))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(late, 'NAMES', tuple(one.replace('imgaug', name) for one in late.NAMES))
    yield name
    for module in [one for one in sys.modules if one.startswith(name) or one == 'lanes']:
        del sys.modules[module]


def test_it_is_imported_at_its_first_use(package):
    with late.late_imgaug():
        import lanes

        assert find_spec(package) is not None
    assert not any(name.startswith(package) for name in sys.modules)
    assert lanes.use(3) == (3, 6, 'flip')
    assert f'{package}.augmenters' in sys.modules


def test_where_it_is_imported_already_nothing_is_in_the_way(package):
    real = importlib.import_module(f'{package}.augmenters')
    with late.late_imgaug():
        import lanes
    assert lanes.iaa is real


def test_where_it_is_not_installed_its_import_fails_at_once(monkeypatch):
    monkeypatch.setattr(late, 'NAMES', ('nobodysaug', 'nobodysaug.augmenters'))
    with late.late_imgaug(), pytest.raises(ImportError):
        importlib.import_module('nobodysaug.augmenters')


def test_mmpd_starts_without_imgaug():
    import subprocess

    code = 'import sys, mmpd.register; print(any(name.startswith("imgaug") for name in sys.modules))'
    assert subprocess.check_output([sys.executable, '-c', code], text=True).splitlines()[-1] == 'False'
