"""Rows of an ablation: equal training, one change a row, finished work reused, an honest verdict."""

import json

from mmpd.ablate.report import markdown_table, write_report
from mmpd.ablate.rows import DEFAULT_ROWS, RKD_ROWS, ROWS, ablation_chain, in_order
from mmpd.ablate.run import (
    discriminator_means,
    read_results,
    refuse_other_options,
    row_fingerprint,
    run_row,
    share_guides,
    val_curve,
)
from mmpd.ablate.verdict import error_of_the_images, row_means, verdict
from mmpd.chain.chain import read_chain
from mmpd.chain.task import TASKS
from mmpd.det.task import DetectionTask
from mmpd.errors import ConfigError
from tests.toys import toy_chain

import numpy as np
import pytest


def result(row, seed, ap, split='val'):
    return dict(row=row, seed=seed, metrics={split: dict(AP=ap)}, per_class={split: dict(disc=dict(AP=ap))})


def test_every_row_is_a_stage_with_equal_training(tmp_path):
    chain = ablation_chain(read_chain(toy_chain(tmp_path, epochs=3)), seed=7)
    assert set(chain.stages) == set(ROWS)
    epochs = {name: stage.schedule.max_epochs for name, stage in chain.stages.items()}
    # a row behind which there is no assistant trains for the assistant's epochs too
    assert epochs['lr_plain'] == epochs['hr_plain'] == epochs['one_stage'] == 6
    assert epochs['lr_init'] == epochs['student'] == epochs['lr_isrd'] == 3
    assert chain.config.randomness.seed == 7


def test_rows_differ_from_the_student_in_one_thing(tmp_path):
    chain = ablation_chain(read_chain(toy_chain(tmp_path)))
    student = chain.stages['student'].entry
    for row in ('lr_plain', 'lr_init', 'lr_feature', 'one_stage'):
        assert chain.stages[row].network.to_dict() == chain.stages['student'].network.to_dict()
    assert chain.stages['lr_init'].init_from is chain.stages['assistant'] and not chain.stages['lr_init'].guide
    assert list(chain.stages['lr_feature'].entry.terms) == ['feature']
    assert chain.stages['lr_feature'].entry.terms.feature == student.terms.feature
    assert (
        chain.stages['one_stage'].guide is chain.stages['teacher']
        and chain.stages['one_stage'].entry.terms == student.terms
    )


def test_rows_of_rkd_change_one_thing_and_are_trained_where_they_are_named(tmp_path):
    options = {'stages.student.terms.response.loss_weight': 8.0, 'rkd': dict(mmd=dict(loss_weight=0.3))}
    chain = ablation_chain(read_chain(toy_chain(tmp_path, **options)))
    stages = {name: stage.entry for name, stage in chain.stages.items()}
    default = stages['student'].terms
    assert set(stages['lr_rkd'].terms) == {'adversarial', 'resolution', 'pairwise', 'mmd'}
    assert set(stages['lr_crkd'].terms) == set(stages['lr_rkd'].terms) - {'adversarial'}
    assert set(stages['student_pairwise'].terms) == {*default, 'pairwise'}
    assert set(stages['student_rkd'].terms) == {*default, *stages['lr_rkd'].terms} - {'response'}
    assert stages['student_resolution'].terms.resolution == dict(type='ResolutionTerm', loss_weight=8.0)
    assert stages['student_mmd'].terms.mmd == dict(type='MMDTerm', loss_weight=0.3)
    assert all(stages['student_mmd'].terms[name] == default[name] for name in default)
    assert not set(DEFAULT_ROWS) & set(RKD_ROWS) and {*DEFAULT_ROWS, *RKD_ROWS} == set(ROWS)


def test_a_given_stage_gives_its_weights_to_no_other_row(tmp_path):
    given = {f'stages.{name}.checkpoint': f'{name}.pth' for name in ('teacher', 'assistant', 'student')}
    chain = ablation_chain(read_chain(toy_chain(tmp_path, **given)))
    assert {row for row, stage in chain.stages.items() if stage.given} == {
        'teacher',
        'assistant',
        'student',
    }


def test_a_longer_row_decays_at_the_same_fractions(tmp_path):
    config = toy_chain(tmp_path, epochs=12, **{'schedule.milestones': [8, 11]})
    rows = ablation_chain(read_chain(config)).stages
    assert list(rows['lr_plain'].schedule.milestones) == [16, 22] and rows['lr_plain'].schedule.max_epochs == 24
    assert list(rows['lr_init'].schedule.milestones) == [8, 11]
    assert list(ablation_chain(read_chain(config), epochs=2).stages['student'].schedule.milestones) == [1, 2]


def test_a_quick_row_warms_up_in_the_same_share_of_its_epochs(tmp_path):
    def warm_ups(**changes):
        stages = ablation_chain(read_chain(toy_chain(tmp_path, epochs=20, **changes)), epochs=2).stages
        return [stages[row].schedule.warmup_iters for row in ('student', 'lr_plain')]

    assert warm_ups(**{'schedule.warmup_iters': 100}) == [10, 10]
    config = toy_chain(tmp_path, epochs=20)
    config.schedule.pop('warmup_iters')
    assert ablation_chain(read_chain(config), epochs=2).stages['student'].schedule.warmup_iters == 50
    # a longer row keeps that of its stage
    assert ablation_chain(read_chain(toy_chain(tmp_path))).stages['lr_plain'].schedule.warmup_iters == 2


def test_another_task_is_refused_with_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setitem(TASKS.module_dict, 'other', DetectionTask)
    with pytest.raises(ConfigError, match=r"task = 'other'.*--runs"):
        ablation_chain(read_chain(toy_chain(tmp_path, task='other')))


def test_rows_bring_what_they_need_in_order(tmp_path):
    chain = ablation_chain(read_chain(toy_chain(tmp_path)))
    assert in_order(chain, ['student', 'lr_plain']) == ['teacher', 'assistant', 'student', 'lr_plain']
    with pytest.raises(ConfigError, match='--rows lr_magic'):
        in_order(chain, ['lr_magic'])


def test_a_chain_without_student_is_refused(tmp_path):
    config = toy_chain(tmp_path)
    config.stages.pop('student')
    with pytest.raises(ConfigError, match='assistant and student'):
        ablation_chain(read_chain(config))


def test_rows_run_end_to_end_and_are_reused(tmp_path):
    plain = read_chain(toy_chain(tmp_path))
    chain = ablation_chain(plain, epochs=1)
    out = tmp_path / 'out'
    for row in in_order(chain, ['lr_init', 'student']):
        run_row(chain, row, tmp_path / 'work', out)
    assert {r['row'] for r in read_results(out)} == {'teacher', 'assistant', 'lr_init', 'student'}
    path = out / 'student_seed0.json'
    stored = json.loads(path.read_text())
    assert 0 <= stored['metrics']['val']['AP'] <= 1 and stored['epochs'] == 1
    assert stored['curve'] == {'1': pytest.approx(stored['metrics']['val']['AP'])}
    assert stored['without'] == dict(val=[])  # the toy set has fewer images than groups
    before = path.stat().st_mtime_ns
    assert run_row(chain, 'student', tmp_path / 'work', out) == stored
    assert path.stat().st_mtime_ns == before
    # rows of other options are not mixed with these, whether they are run again or only lie beside
    for changes in ({'ratio': 4}, {'stages.student.terms.isrd': None}, {'optim_wrapper.optimizer.lr': 0.02}):
        changed = ablation_chain(read_chain(toy_chain(tmp_path, **changes)), epochs=1)
        with pytest.raises(ConfigError, match=r'student_seed0.json was measured with other options.*--work-dir'):
            run_row(changed, 'student', tmp_path / 'work', out)
        with pytest.raises(ConfigError, match='measured with other options'):
            refuse_other_options(changed, read_results(out), out)
    refuse_other_options(chain, read_results(out), out)
    path.write_text(json.dumps(stored | dict(fingerprint=row_fingerprint(chain.stages['student'], old=True))))
    refuse_other_options(chain, read_results(out), out)  # of before
    # another seed can borrow the guides, and then needs no training of its own for them
    other = ablation_chain(plain, seed=1, epochs=1)
    other = share_guides(other, tmp_path / 'work' / 'seed0')
    assert in_order(other, ['lr_init']) == ['lr_init']
    text = write_report(read_results(out), 'val', out)
    assert '| `student` |' in text and (out / 'plot_val.png').stat().st_size > 1000
    assert (out / 'curves_val.png').stat().st_size > 1000


def test_a_curve_goes_on_where_a_cut_training_was_resumed(tmp_path):
    starts = [('20260101_1', [(1, 0.1), (2, 0.2)]), ('20260101_2', [(2, 0.25), (3, 0.3)])]
    for start, points in starts:
        folder = tmp_path / start / 'vis_data'
        folder.mkdir(parents=True)
        lines = [dict(loss=1.0, step=7), *({'pd/AP': ap, 'step': epoch} for epoch, ap in points)]
        cut = '\n{"pd/AP": 0.9, "st'  # the machine stopped here
        (folder / 'scalars.json').write_text('\n'.join(map(json.dumps, lines)) + cut)
    assert val_curve(tmp_path) == {'1': 0.1, '2': 0.25, '3': 0.3}


def test_summary_is_mean_and_sample_deviation():
    rows = row_means([result('student', 0, 0.40), result('student', 1, 0.44)], 'val', 'AP')
    mean, sd, seeds = rows['student']
    assert (mean, seeds) == (pytest.approx(0.42), 2) and sd == pytest.approx(0.0282843, rel=1e-5)
    assert '42.0 ± 2.8' in markdown_table([result('student', 0, 0.40), result('student', 1, 0.44)], 'val')


def test_verdict_names_a_guide_that_cannot_teach():
    results = [result(row, 0, ap) for row, ap in (('student', 0.3), ('lr_init', 0.4), ('assistant', 0.35))]
    assert 'the assistant, has only 35.0' in verdict(results, 'val', 'AP')
    results[-1] = result('assistant', 0, 0.5)
    assert 'has only' not in verdict(results, 'val', 'AP')


@pytest.mark.parametrize(
    ('student', 'plain', 'init', 'answer'),
    [
        ((0.50, 0.52), (0.30, 0.30), (0.40, 0.42), 'Distillation pays here.*lr_init, \\+10.0'),
        ((0.50, 0.52), (0.60, 0.60), (0.40, 0.42), 'does not pay here.*lr_plain, -9.0'),
        ((0.50, 0.56), (0.30, 0.30), (0.50, 0.54), 'No difference that these seeds.*\\+1.0'),  # inside the spread
        ((0.50,), (0.30,), (0.495,), 'No difference that these seeds.*\\+0.5 .*one seed'),
        ((0.50,), (0.30,), (0.48,), 'Distillation pays here.*\\+2.0 .*one seed'),
        ((0.50, 0.52), (0.40,), (), 'pays here.*lr_plain.*one seed.*lr_init, was not run'),
    ],
)
def test_verdict_compares_with_the_stronger_control(student, plain, init, answer):
    rows = dict(student=student, lr_plain=plain, lr_init=init)
    results = [result(row, seed, ap) for row, values in rows.items() for seed, ap in enumerate(values)]
    import re

    assert re.search(answer, verdict(results, 'val', 'AP'))


def grouped(row, seed, values):
    """A row whose AP is the mean over groups of images of `values`."""
    values = np.array(values)
    without = (values.sum() - values) / (len(values) - 1)
    return result(row, seed, float(values.mean())) | dict(without=dict(val=list(without)))


def test_the_error_of_the_images_is_that_of_a_mean_of_paired_differences():
    rng = np.random.default_rng(0)
    hard, gains = rng.normal(0.4, 0.2, 20), rng.normal(0.02, 0.03, 20)
    results = [grouped('student', 0, hard + gains), grouped('lr_init', 0, hard)]
    error = error_of_the_images(results, ('student', 'lr_init'), 'val')
    assert error == pytest.approx(np.std(gains, ddof=1) / np.sqrt(20))  # how hard an image is for both is no part of it
    twice = [grouped('student', 1, hard + 2 * gains)]  # the mean of two seeds gains 1.5 × as much
    assert error_of_the_images(results + twice, ('student', 'lr_init'), 'val') == pytest.approx(1.5 * error)
    assert error_of_the_images(results, ('student', 'lr_init'), 'test') is None
    assert error_of_the_images([*results[:1], result('lr_init', 0, 0.4)], ('student', 'lr_init'), 'val') is None


def test_a_gain_that_other_images_could_take_back_is_no_verdict():
    hard = np.linspace(0.1, 0.7, 20)
    gains = np.where(np.arange(20) % 2, 0.2, -0.12)  # +4.0 points on the mean, and all over the place
    plain = [grouped('lr_init', s, hard) for s in (0, 1)]
    rows = [grouped('student', s, hard + gains + s / 1000) for s in (0, 1)] + plain
    said = verdict(rows, 'val', 'AP')
    assert said.startswith('No difference that these seeds and images') and '+4.0 points' in said
    assert 'seeds: 0.1; two standard errors of the images: 7.3' in said
    steady = [grouped('student', s, hard + 0.04) for s in (0, 1)] + plain
    assert verdict(steady, 'val', 'AP').startswith('Distillation pays here')
    old = [{key: value for key, value in row.items() if key != 'without'} for row in rows]
    assert verdict(old, 'val', 'AP').startswith('Distillation pays here')


def test_a_short_training_is_called_a_first_look():
    rows = [result('student', 0, 0.5), result('lr_init', 0, 0.4)]
    assert 'after 3 epochs' in verdict([row | dict(epochs=3) for row in rows], 'val', 'AP')
    assert 'first look' not in verdict([row | dict(epochs=20) for row in rows], 'val', 'AP')


def test_the_table_counts_the_objects_of_a_size_and_shows_own_rows():
    own = result('my_row', 0, 0.3)
    own['metrics']['val'] |= dict(AP_small=0.1, gt_small=83.0)
    text = markdown_table([own, result('student', 0, 0.4)], 'val')
    assert 'AP_small (83 objects)' in text and text.index('`student`') < text.index('`my_row`')


def test_the_report_says_how_often_the_discriminator_is_right_and_warns(tmp_path):
    """Means over the second half of the log, of which the last line may be cut off."""
    for row, accuracy, gradient in (('lr_rkd', 0.97, 1e-5), ('student_rkd', 0.6, 0.2)):
        log = tmp_path / row / 'start/vis_data/scalars.json'
        log.parent.mkdir(parents=True)
        lines = [dict(step=i, adversarial_accuracy=0.5, adversarial_gradient=1.0) for i in range(2)]
        lines += [dict(step=i, adversarial_accuracy=accuracy, adversarial_gradient=gradient) for i in (2, 3)]
        log.write_text('\n'.join([*map(json.dumps, lines), json.dumps({'step': 4, 'pd/AP': 0.1}), '{"step": 5, "adv']))
        seen = discriminator_means(tmp_path / row)
        assert seen == pytest.approx(dict(accuracy=accuracy, gradient=gradient))
    results = [
        {**result('lr_rkd', 0, 0.2), 'discriminator': discriminator_means(tmp_path / 'lr_rkd')},
        {**result('student_rkd', 1, 0.2), 'discriminator': discriminator_means(tmp_path / 'student_rkd')},
        result('student', 0, 0.2),
    ]
    sure, fine = write_report(results, 'val', tmp_path).splitlines()[-2:]
    assert 'lr_rkd' in sure and '97.0%' in sure and sure.count('Warning') == 2 and 'vanished' in sure
    assert 'student_rkd' in fine and '60.0%' in fine and 'Warning' not in fine
    assert discriminator_means(tmp_path) == {}
