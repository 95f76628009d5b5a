"""report.html: its numbers are those of `mmpd test`, and it holds all that it shows."""

import io
import json
import os
import re
import shutil
import time

from mmpd.chain.chain import read_chain
from mmpd.cli import command
from mmpd.errors import ConfigError
from mmpd.evaluation.measure import measure
from mmpd.report import after
from mmpd.report.after import report_after
from mmpd.report.features import correlation, distiller_of, pair_of
from mmpd.report.figures import curves, first_image, gallery
from mmpd.report.gather import gather
from mmpd.report.page import write_page
from tests.io.stage_folder import write_stage
from tests.toys import toy_retinanet

import numpy as np
import pytest
import torch
from mmengine.config import Config
from rich.console import Console


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
    assert page.count('data:image/png;base64,') == 3  # two of the gallery, as there is no plain network, and the maps
    assert page.count('<svg') >= 3


def test_what_was_measured_is_not_measured_again_until_the_weights_change(work, page, monkeypatch):
    monkeypatch.setattr('mmpd.report.gather.measure', lambda *_: pytest.fail('measured again'))
    assert gather(work).student.name == 'student' and gather(work).best_hr.size == (64, 48)
    other = work / 'teacher' / 'teacher_best.pth'
    trained = other.read_bytes()
    shutil.copy(work / 'assistant' / 'assistant_best.pth', other)
    with pytest.raises(BaseException, match='measured again'):
        gather(work)
    other.write_bytes(trained)


def test_corrected_boxes_are_measured_anew(finished_chain, work, tmp_path):
    """The numbers of the wrong ones stood in every later report."""
    voc = tmp_path / 'voc'
    shutil.copytree(finished_chain.root / 'voc', voc)
    shutil.copytree(work / 'student', tmp_path / 'work/student')
    bench = tmp_path / 'work/student/bench.py'
    bench.write_text(bench.read_text().replace(str(finished_chain.root), str(tmp_path)))
    before = gather(tmp_path / 'work').student.measured
    file = next((voc / 'Annotations').glob('test_*.xml'))
    wrong = file.read_text()
    file.write_text(re.sub('<object>.*?</object>', '', wrong, count=1, flags=re.S))
    after_it = gather(tmp_path / 'work').student.measured
    assert sum(one['gt'] for one in after_it.per_class.values()) == sum(o['gt'] for o in before.per_class.values()) - 1
    file.write_text(wrong)
    assert gather(tmp_path / 'work').student.measured == before


def test_without_an_hr_network_no_network_takes_its_place(work, tmp_path):
    """An ablation whose guides were given as files holds LR networks only."""
    shutil.copytree(work / 'student', tmp_path / 'student')
    facts = gather(tmp_path)
    assert facts.best_hr is None and facts.student.guide == 'assistant'
    assert list(gallery(facts)) == ['By chance']
    assert 'of those of' not in write_page(tmp_path).read_text()


def test_no_two_curves_look_alike():
    svg = curves({f'loss_{index}': [(0, 1 + index), (1, 2 + index)] for index in range(10)}, 'iteration', 'loss')
    lines = re.findall(r'style="fill: none; ([^"]*stroke-width: 1.6[^"]*)"', svg)
    assert len(set(lines)) == 10


def test_a_folder_without_a_finished_stage(tmp_path):
    with pytest.raises(ConfigError, match='no finished stage'):
        command('report')([str(tmp_path)])
    with pytest.raises(ConfigError, match='no such folder'):
        command('report')([str(tmp_path / 'not')])


def test_maps_are_of_the_cells_on_the_image_and_equal_networks_agree(work):
    facts = gather(work)
    student = facts.student
    distiller = distiller_of(student)
    pair = pair_of(Config.fromfile(student.folder / 'bench.py'), distiller.alignment.ratio, first_image(facts))
    (hr,), (lr,) = pair['inputs']['hr'], pair['inputs']['lr']
    assert hr.shape[-2:] == (48, 64) and lr.shape[-2:] == (24, 32)
    rng = torch.Generator().manual_seed(0)
    one, other = torch.randn(2, 5, 40, 40, generator=rng)
    assert correlation(one, 3 * one - 2) == pytest.approx(1, abs=1e-4)  # whatever gain and offset
    assert correlation(one, -one) == pytest.approx(-1, abs=1e-4)
    expected = np.mean([np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(one, other, strict=True)])
    assert correlation(one, other) == pytest.approx(expected, abs=1e-4)


def test_a_report_comes_by_itself_once_and_never_stops_what_is_finished(work, page, monkeypatch, tmp_path):
    said = io.StringIO()
    console = Console(file=said, width=400)
    report_after(work, 'test', console)
    assert said.getvalue() == ''  # it is newer than the last stage
    monkeypatch.setattr(after, 'write_page', lambda *_, **__: 1 / 0)
    (tmp_path / 'student').mkdir()
    (tmp_path / 'student' / 'done.json').write_text('{}')
    report_after(tmp_path, 'test', console)
    assert 'ZeroDivisionError' in said.getvalue() and f'mmpd report {tmp_path}' in said.getvalue()


def test_the_student_of_the_page_is_the_stage_student(work, tmp_path):
    """A row of an ablation that finished before it stood in its place."""
    shutil.copytree(work / 'student', tmp_path / 'lr_isrd')
    (tmp_path / 'lr_isrd/student.py').rename(tmp_path / 'lr_isrd/lr_isrd.py')
    shutil.copytree(tmp_path / 'lr_isrd', tmp_path / 'lr_rkd')
    (tmp_path / 'lr_rkd/lr_isrd.py').rename(tmp_path / 'lr_rkd/lr_rkd.py')
    for age, name in ((20, 'lr_isrd'), (10, 'lr_rkd')):
        os.utime(tmp_path / name / 'done.json', (time.time() - age,) * 2)
    assert gather(tmp_path).student.name == 'lr_rkd'  # the last, as in `Chain.final`
    shutil.copytree(work / 'student', tmp_path / 'student')
    facts = gather(tmp_path)
    assert len(facts.networks) == 3 and facts.student.name == 'student'


def test_a_plain_network_of_another_architecture_is_not_among_the_maps(finished_chain, work, tmp_path):
    shutil.copytree(work, tmp_path, dirs_exist_ok=True)
    config = finished_chain.chain.config.copy()
    for name, channels in (('lr_plain', 4), ('tiny', 8)):
        config.stages[name] = dict(detector=toy_retinanet(base_channels=channels), size='lr')
        folder = write_stage(read_chain(config), tmp_path, name)
        shutil.copy(folder / 'bench.py', folder / f'{name}.py')
        (folder / 'done.json').write_text(json.dumps(dict(checkpoint=f'{name}_best.pth')))
        os.utime(folder / 'done.json', (time.time() + channels,) * 2)
        facts = gather(tmp_path)
        assert facts.find(False, facts.student).name == name
        same = facts.find(False, facts.student).layers == facts.student.layers
        assert same == (name == 'lr_plain')
    assert 'tiny' in write_page(tmp_path).read_text()


def test_an_ablation_is_not_measured_again(work, tmp_path, monkeypatch):
    shutil.copytree(work, tmp_path / 'seed0')
    for file in (tmp_path / 'seed0').glob('*/measured_*.json'):
        file.unlink()
    rows = tmp_path / 'elsewhere'
    rows.mkdir()
    for row in ('teacher', 'assistant', 'student'):
        result = dict(row=row, seed=0, metrics=dict(val=dict(AP=0.25)), per_class=dict(val={}))
        (rows / f'{row}_seed0.json').write_text(json.dumps(result))
    monkeypatch.setattr('mmpd.report.gather.measure', lambda *_: pytest.fail('measured again'))
    facts = gather(tmp_path, 'val', rows)
    assert [one.measured.metrics for one in facts.networks] == [dict(AP=0.25)] * 3
    assert facts.rows['AP']['student'] == (0.25, 0.0, 1)


def test_several_runs_of_a_chain_are_a_table_of_means(work, tmp_path):
    shutil.copytree(work, tmp_path / 'run0')
    summary = dict(student=dict(AP=dict(mean=0.25, sd=0.02, values=[0.23, 0.27])))
    (tmp_path / 'runs.json').write_text(json.dumps(summary))
    facts = gather(tmp_path)
    assert facts.rows == dict(AP=dict(student=(0.25, 0.02, 2))) and facts.student.folder == tmp_path / 'run0/student'
    assert '25.0 ± 2.0' in write_page(tmp_path).read_text()
