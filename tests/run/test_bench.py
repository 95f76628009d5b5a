"""The bench measures what it says, on a toy chain."""

from mmpd.chain.chain import read_chain
from mmpd.errors import ConfigError
from mmpd.run.bench import BenchOptions, bench_stage, interleaved, peak_mebibytes
from tests.toys import save_weights, toy_chain, toy_retinanet

import pytest
import torch


def test_every_part_is_measured(tmp_path):
    chain = read_chain(toy_chain(tmp_path))
    save_weights(toy_retinanet(), tmp_path / 'guide.pth')
    before = torch.get_num_threads()
    result = bench_stage(chain.stages['student'], BenchOptions(batch=2, rounds=2), str(tmp_path / 'guide.pth'))
    torch.set_num_threads(before)
    assert set(result['times']) == {'student step', 'guide forward', 'two-model step', 'distillation step'}
    for times in result['times'].values():
        low, high = times['cpu_quartiles']
        assert 0 < low <= times['cpu'] <= high
    assert set(result['terms']) == {'feature', 'response', 'isrd'}
    assert all(term['forward'] > 0 and term['backward'] > 0 for term in result['terms'].values())
    cpu = {name: times['cpu'] for name, times in result['times'].items()}
    assert result['ratio'] == pytest.approx(cpu['distillation step'] / (cpu['student step'] + cpu['guide forward']))
    assert all(peak > 0 for peak in result['mebibytes'].values())
    assert result['loader']['images_per_second'] > 0 and result['import_seconds']['mmpd.register'] > 0
    assert 'peer_ratio' not in result


def test_a_stage_without_a_guide_has_no_distillation_step(tmp_path):
    with pytest.raises(ConfigError, match='stages.teacher has no guide'):
        bench_stage(read_chain(toy_chain(tmp_path)).stages['teacher'], BenchOptions())


def test_parts_take_turns_and_the_first_round_does_not_count():
    calls: list[str] = []
    times = interleaved({'a': lambda: calls.append('a'), 'b': lambda: calls.append('b')}, BenchOptions(rounds=3))
    assert calls == ['a', 'b'] * 4 and set(times) == {'a', 'b'}


def test_the_peak_is_what_is_allocated_at_once():
    def eight_then_four() -> None:
        eight = torch.zeros(2 * 2**20)
        del eight
        torch.zeros(2**20)

    assert peak_mebibytes(eight_then_four, BenchOptions()) == pytest.approx(8.0, abs=0.5)
