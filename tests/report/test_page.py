"""report.html: its numbers are those of `mmpd test`, and it holds all that it shows."""

import json
import re
import shutil

from mmpd.cli import command
from mmpd.errors import ConfigError
from mmpd.evaluation.measure import measure
from mmpd.report.gather import gather
from mmpd.report.page import write_page

import pytest
from mmengine.config import Config


@pytest.fixture(scope='module')
def work(finished_chain, tmp_path_factory):
    folder = tmp_path_factory.mktemp('report') / 'work'
    shutil.copytree(finished_chain.work_dir, folder)
    return folder


@pytest.fixture(scope='module')
def page(work) -> str:
    return write_page(work).read_text()


def test_every_number_is_that_of_mmpd_test(work, page):
    written = json.loads((work / 'report.json').read_text())
    for name, network in written['networks'].items():
        folder = work / name
        again = measure(Config.fromfile(folder / 'bench.py'), folder / f'{name}_best.pth')
        assert network['metrics'] == again.metrics and network['per_class'] == again.per_class
        assert f'{100 * again.metrics["AP"]:.1f}' in page
    assert list(written['networks']) == ['teacher', 'assistant', 'student']


def test_the_page_needs_nothing_from_outside(page):
    assert not re.findall(r'(?:src|href)="(?!data:|#)[^"]+', page)
    assert page.count('data:image/png;base64,') == 2  # no plain network here: two pictures
    assert page.count('<svg') >= 3


def test_what_was_measured_is_not_measured_again_until_the_weights_change(work, page, monkeypatch):
    monkeypatch.setattr('mmpd.report.gather.measure', lambda *_: pytest.fail('measured again'))
    assert gather(work).student.name == 'student' and gather(work).best_hr.size == (64, 48)
    other = work / 'teacher' / 'teacher_best.pth'
    shutil.copy(work / 'assistant' / 'assistant_best.pth', other)
    with pytest.raises(BaseException, match='measured again'):
        gather(work)


def test_a_folder_without_a_finished_stage(tmp_path):
    with pytest.raises(ConfigError, match='no finished stage'):
        command('report')([str(tmp_path)])
    with pytest.raises(ConfigError, match='no such folder'):
        command('report')([str(tmp_path / 'not')])
