"""Latency and bytes are measured, and results of an ablation meet the costs of their networks."""

import contextlib
import dataclasses
import time
from fractions import Fraction

from mmpd import register  # noqa: F401
from mmpd.chain.chain import read_chain
from mmpd.data.reduction import reduce_image
from mmpd.errors import ConfigError
from mmpd.evaluation import timing as timing_module
from mmpd.evaluation.budget import within
from mmpd.evaluation.cost import candidates
from mmpd.evaluation.cost_study import (
    Entry,
    chain_images,
    cost_rows,
    join_results,
    measure_bytes,
    measure_candidates,
    ratios_of,
)
from mmpd.evaluation.encoded import encoded_bytes, parse_codec
from mmpd.evaluation.timing import Timing, time_networks
from mmpd.report.cost import accuracy_table, answer_text, front_names, plot_costs
from tests.toys import toy_chain

import cv2
import numpy as np
import pytest
import torch


@pytest.fixture(scope='module')
def chain(tmp_path_factory):
    return read_chain(toy_chain(tmp_path_factory.mktemp('cost')))


@pytest.fixture(scope='module')
def entries(chain) -> list[Entry]:
    found, impossible = candidates(chain, [Fraction(2), Fraction(1)], ['fine'])
    assert not impossible
    measured = measure_candidates(found, [], 1, 1)
    measure_bytes(measured, chain, chain_images(chain, 2), ['jpeg:90', 'raw'])
    return measured


def result(row: str, accuracy: float, seed: int = 0, **changes) -> dict:
    metrics = dict(test=dict(AP=accuracy))
    return dict(row=row, seed=seed, config='chain', ratio='2', pyramid='fine', metrics=metrics) | changes


def test_each_ratio_is_a_network_of_its_own(entries) -> None:
    named = {(one.candidate.stage, str(one.candidate.ratio)): one for one in entries}
    assert set(named) == {('teacher', '1'), ('assistant', '1'), ('student', '2'), ('student', '1')}
    assert named['student', '2'].cost.size == (32, 24) and named['student', '1'].cost.size == (64, 48)
    assert named['student', '2'].cost.memory < named['assistant', '1'].cost.memory


def test_latency_in_torch_and_onnx_runtime(chain) -> None:
    threads = torch.get_num_threads()
    one = candidates(chain, pyramids=['fine'])[0][-1]
    (entry,) = measure_candidates([one], ['cpu', 'onnx'], 1, 5)
    for name in ('cpu', 'onnx'):
        timing = entry.timings[name]
        assert 0 < timing.median <= timing.p95 and (timing.threads, timing.repeats) == (1, 5)
    assert entry.costs()['latency'] == entry.timings['onnx'].processor  # what would be deployed, of one thread
    assert torch.get_num_threads() == threads
    assert cost_rows([entry])[0]['cpu_median_ms'] > 0


def test_bytes_are_those_of_the_encoder_on_the_networks_pixels(tmp_path) -> None:
    hr = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    cv2.imwrite(str(tmp_path / 'a.png'), hr)
    cv2.imwrite(str(tmp_path / 'b.png'), np.full_like(hr, 90))
    lr = cv2.resize(hr, (32, 24), interpolation=cv2.INTER_AREA)
    sizes = encoded_bytes([tmp_path / 'a.png', tmp_path / 'b.png'], (64, 48), Fraction(2), 'area', ['raw', 'webp:80'])
    expected = [len(cv2.imencode('.webp', image, [cv2.IMWRITE_WEBP_QUALITY, 80])[1]) for image in (lr, lr * 0 + 90)]
    assert sizes == {'raw': 32 * 24 * 3, 'webp:80': sum(expected) / 2}
    few = encoded_bytes([tmp_path / 'a.png'], (64, 48), Fraction(2), 'area+coarse:2', ['raw', 'webp:80'])
    carried = cv2.resize(lr, (16, 12), interpolation=cv2.INTER_AREA)
    assert few == {
        'raw': 16 * 12 * 3,
        'webp:80': len(cv2.imencode('.webp', carried, [cv2.IMWRITE_WEBP_QUALITY, 80])[1]),
    }
    coded = reduce_image(
        hr, Fraction(2), 'area+jpeg:40'
    )  # in BGR, as a training reduces: JPEG tells the channels apart
    assert encoded_bytes([tmp_path / 'a.png'], (64, 48), Fraction(2), 'area+jpeg:40', ['webp:80']) == {
        'webp:80': len(cv2.imencode('.webp', coded, [cv2.IMWRITE_WEBP_QUALITY, 80])[1])
    }
    assert encoded_bytes([tmp_path / 'a.png'], (64, 48), Fraction(1), 'area+coarse:2', ['raw']) == {'raw': hr.nbytes}
    for bad in ('jpeg', 'png:3', 'jpeg:0', 'webp:high', 'raw:3'):
        with pytest.raises(ConfigError, match='--encode'):
            parse_codec(bad)


def test_rows_of_an_ablation_meet_their_networks(entries) -> None:
    results = [
        *(result('student', value, seed) for seed, value in enumerate((0.4, 0.5))),
        result('student', 0.6, ratio='1'),
        result('hr_plain', 0.7),
        result('lr_plain', 0.3),
        result('student', 0.2, pyramid='cheap'),
        result('student', 0.2, config='another'),
        dict(result('lr_fsr', 0.2), metrics={}),
    ]
    scored, left_out = join_results(entries, results, 'test', 'AP')
    named = {one.label: one for one in scored}
    assert set(named) == {'student 1/2 fine', 'student', 'hr_plain', 'lr_plain 1/2 fine'}
    student = named['student 1/2 fine']
    assert (student.accuracy, student.seeds) == (pytest.approx(0.45), 2) and student.sd == pytest.approx(
        0.0707, abs=1e-4
    )
    cost = {one.label: one.cost for one in entries}
    assert named['hr_plain'].costs['macs'] == cost['assistant'].macs
    assert named['lr_plain 1/2 fine'].costs['macs'] == student.costs['macs'] == cost['student 1/2 fine'].macs
    assert len(left_out) == 3
    with pytest.raises(ConfigError, match='AP on val'):
        join_results(entries, results, 'val', 'AP')


def test_a_stage_has_its_own_costs_and_two_ablations_of_an_hr_row_are_told(entries) -> None:
    """Every row that was none of the names of an ablation had the costs of the student."""
    tiny, guide = (next(one for one in entries if one.candidate.stage == stage) for stage in ('student', 'assistant'))
    tiny = dataclasses.replace(tiny, candidate=dataclasses.replace(tiny.candidate, stage='tiny'))
    guide = dataclasses.replace(guide, candidate=dataclasses.replace(guide.candidate, stage='teacher2'))
    tiny.cost, guide.cost = (dataclasses.replace(one.cost, macs=macs) for one, macs in ((tiny, 10), (guide, 20)))
    results = [result('tiny', 0.4), result('teacher2', 0.5), result('tiny', 0.4, ratio='4')]
    results += [result('assistant', 0.6), result('assistant', 0.6, ratio='4'), result('assistant', 0.7, ratio='1')]
    scored, left_out = join_results([*entries, tiny, guide], results, 'test', 'AP')
    named = {one.label: one for one in scored}
    assert (named['tiny 1/2 fine'].costs['macs'], named['teacher2'].costs['macs']) == (10, 20)
    assert named['assistant'].accuracy == 0.6
    assert ['tiny' in left_out[0], 'assistant' in left_out[1], len(left_out)] == [True, True, 2]
    assert 'ratio 1,' in left_out[1] and 'other numbers' in left_out[1]


def test_ratios_come_from_the_results(chain) -> None:
    results = [result('student', 0.4, ratio=ratio) for ratio in ('4', '3/2')] + [result('x', 0, config='y', ratio='9')]
    assert ratios_of([*results, result('assistant', 0.5, ratio='1')], chain) == [2, Fraction(3, 2), 4]
    assert ratios_of([], chain) == [2]


def test_front_and_answer_of_real_costs(entries, tmp_path) -> None:
    scored, _ = join_results(
        entries, [result('student', 0.4), result('lr_plain', 0.3), result('hr_plain', 0.7)], 'test', 'AP'
    )
    fronts = front_names(scored)
    assert 'macs' in fronts['student 1/2 fine'] and 'macs' in fronts['hr_plain'] and not fronts['lr_plain 1/2 fine']
    assert accuracy_table(scored, 'AP', 'test').row_count == 3
    macs = {one.label: one.costs['macs'] for one in scored}
    limits = dict(macs=macs['student 1/2 fine'] + 1, bytes=1e9)
    said = answer_text(within(scored, limits), limits)
    assert 'student 1/2 fine: 40.0' in said and 'macs binds' in said and 'hr_plain would reach 70.0' in said
    limits = dict(macs=1.0, bytes=1.0)
    assert 'at least two' in answer_text(within(scored, limits), limits)
    drawn = plot_costs(scored, 'AP', 'test', tmp_path / 'front.png')
    assert {'macs', 'bytes', 'pixels'} <= set(drawn) and 'params' not in drawn  # one architecture
    assert cv2.imread(str(tmp_path / 'front.png')) is not None


def test_a_budget_counts_the_work_of_one_thread_and_the_clock_of_several_or_a_gpu():
    one = Timing('onnx', median=90.0, p95=99.0, processor=10.0, threads=1, repeats=5)
    assert one.latency == 10.0  # the other 80 ms the core did something else
    assert dataclasses.replace(one, threads=4).latency == 90.0
    assert dataclasses.replace(one, runtime='cuda').latency == 90.0


def test_waiting_is_no_work_of_the_processor(monkeypatch):
    """A network that sleeps: the clock sees it, the processor does not."""
    ready = contextlib.nullcontext(lambda: time.sleep(0.02))
    monkeypatch.setattr(timing_module, '_ready', lambda *args: ready)
    (timing,) = time_networks([(None, (8, 8))], 'cpu', 1, 3)
    assert timing.median >= 20 > 10 > timing.processor
