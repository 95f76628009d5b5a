"""The bench measures what it says, on a toy chain."""

from mmpd.chain.chain import read_chain
from mmpd.errors import ConfigError
from mmpd.report.bench import bench_lines, bench_table, options_table
from mmpd.report.growth import growth_table, plot_growth
from mmpd.run import bench, growth
from mmpd.run.bench import VARIANTS, BenchOptions, bench_stage, compare_options
from mmpd.run.growth import Setting, measure_growth
from mmpd.run.stopwatch import first_iteration, interleaved, peak_mebibytes
from mmpd.terms.roi import RoITerm
from tests.toy_families import toy_family
from tests.toys import save_weights, toy_chain, toy_retinanet

import pytest
import torch
from rich.text import Text


def test_every_part_is_measured(tmp_path):
    chain = read_chain(toy_chain(tmp_path))
    save_weights(toy_retinanet(), tmp_path / 'guide.pth')
    before = torch.get_num_threads()
    options = BenchOptions(batch=2, rounds=2, guide_cache=str(tmp_path / 'cache'))
    result = bench_stage(chain.stages['student'], options, str(tmp_path / 'guide.pth'))
    torch.set_num_threads(before)
    parts = {'student step', 'guide forward', 'two-model step', 'distillation step', 'step, guide found'}
    assert set(result['times']) == parts
    assert len(list((tmp_path / 'cache').glob('*/*'))) == 2  # the two images of the batch, computed once
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
    assert str(Text.from_markup(bench_table('[/a]/b.py', result).title)).startswith('[/a]/b.py: ')
    assert bench_table('title', result).row_count == 8 and 'loader' in ' '.join(bench_lines(result))


def test_mmdets_own_distillation_stands_beside_a_gfl_student(tmp_path, monkeypatch):
    monkeypatch.setattr(bench, 'import_seconds', dict)
    before = torch.get_num_threads()
    stage = toy_family('pd_voc_gfl', tmp_path / 'voc').stages['student']
    result = bench_stage(stage, BenchOptions(batch=2, rounds=1))
    torch.set_num_threads(before)
    cpu = {name: times['cpu'] for name, times in result['times'].items()}
    own = cpu['peer student step'] + cpu['peer teacher forward']
    assert result['peer_ratio'] == pytest.approx(cpu['peer step'] / own)
    assert result['peer_memory_ratio'] > 0.9 and 'mmdet' in ' '.join(bench_lines(result))


def test_a_stage_without_a_guide_has_no_distillation_step(tmp_path):
    with pytest.raises(ConfigError, match='stages.teacher has no guide'):
        bench_stage(read_chain(toy_chain(tmp_path)).stages['teacher'], BenchOptions())


def test_options_take_turns_with_the_plain_step(tmp_path, monkeypatch):
    """torch.compile needs a compiler and a minute: the guide's compilation is counted here, not run."""
    compiled = []
    monkeypatch.setattr('mmpd.distill.view.NetworkView.compile', lambda view: compiled.append(view))
    before = torch.get_num_threads()
    result = compare_options(read_chain(toy_chain(tmp_path)).stages['student'], BenchOptions(batch=2, rounds=1))
    torch.set_num_threads(before)
    assert set(result['times']) == {'plain', *VARIANTS} and len(compiled) == 1
    assert set(result['times']['compile']) == {'guide forward'}
    assert all(times['cpu'] > 0 for parts in result['times'].values() for times in parts.values())
    assert options_table('title', result).row_count == 4


def test_the_guides_roi_head_is_the_guides(tmp_path, monkeypatch):
    """A RoI term needs the guide's RoI head: its cost is that of a network, and not of the term."""
    stage = toy_family('pd_voc_faster_rcnn', tmp_path / 'voc').stages['student']
    calls = []
    run_guide = RoITerm.run_guide
    monkeypatch.setattr(RoITerm, 'run_guide', staticmethod(lambda step: calls.append(1) or run_guide(step)))
    with bench._built(stage, BenchOptions(batch=2), None) as (_, model, _, data):
        parts = bench.step_parts(model, data, BenchOptions(batch=2))
        rois, outputs = parts['guide forward']()
    assert calls == [1] and len(rois) == len(outputs['cls_score']) > 0


def test_parts_take_turns_and_the_first_round_does_not_count():
    calls: list[str] = []
    times = interleaved({'a': lambda: calls.append('a'), 'b': lambda: calls.append('b')}, rounds=3)
    assert calls == ['a', 'b'] * 4 and set(times) == {'a', 'b'}


def test_growth_keeps_the_share_of_sure_locations_whatever_the_classes(tmp_path):
    stage = read_chain(toy_chain(tmp_path)).stages['student']
    before = torch.get_num_threads()
    axes = dict(side=(64, 128), classes=(3, 40))
    result = measure_growth(stage, BenchOptions(rounds=2), axes, dict.fromkeys(axes, Setting(128, 2, 3, 2)))
    torch.set_num_threads(before)
    assert [row[row['axis']] for row in result['rows']] == [64, 128, 3, 40]
    assert all(row['networks'] > 0 and row['step'] > 0 for row in result['rows'])
    for classes in (3, 40):
        model = growth._model(stage, classes)
        assert model.guide_view.num_classes() == classes
        scores = model.guide_view.run(torch.randn(1, 3, 256, 256))['head'][0]
        best = torch.cat([score.flatten(0, 1).unflatten(0, (-1, classes)).amax(1).flatten() for score in scores])
        assert 0.002 < float((best.sigmoid() > 0.2).float().mean()) < 0.1
    plot_growth(result, tmp_path / 'growth.png')
    assert (tmp_path / 'growth.png').stat().st_size > 1000 and growth_table(result).row_count == 4


def test_growth_pads_its_batches_as_a_training_does(tmp_path):
    """At 3/2 a side of 160 gave 160 beside 107, and networks that need multiples of 32 met a side of 80 at ratio 2."""
    for ratio, divisor, sides in (('3/2', 1, (162, 108)), (2, 32, (192, 96))):
        padded = dict(data_preprocessor=dict(pad_size_divisor=divisor))
        chain = toy_chain(tmp_path, ratio=ratio, **{'stages.student.overrides': padded})
        model = growth._model(read_chain(chain).stages['student'], 3)
        inputs = growth._batch(model, Setting(160, 1, 3, 2), BenchOptions())['inputs']
        assert tuple(inputs[size].shape[-1] for size in ('hr', 'lr')) == sides


def test_the_time_to_the_first_iteration_is_that_of_the_command(tmp_path):
    toy_chain(tmp_path).dump(tmp_path / 'chain.py')
    first = first_iteration([str(tmp_path / 'chain.py')])
    assert first['cpu'] > 1 and first['wall'] > 1
    with pytest.raises(ConfigError, match='ratoi'):
        first_iteration([str(tmp_path / 'chain.py'), '--cfg-options', 'ratoi=4'])


def test_the_peak_is_what_is_allocated_at_once():
    def eight_then_four() -> None:
        eight = torch.zeros(2 * 2**20)
        del eight
        torch.zeros(2**20)

    assert peak_mebibytes(eight_then_four) == pytest.approx(8.0, abs=0.5)
