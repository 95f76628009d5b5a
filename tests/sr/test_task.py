"""The sr task on the chain's own runner: pipelines, preflight, training, resuming, measuring."""

from pathlib import Path

from mmpd.chain.chain import read_chain
from mmpd.chain.datasets import innermost
from mmpd.chain.deploy import bench_config, deploy_config
from mmpd.chain.stage_config import stage_config
from mmpd.check.preflight import check_stages
from mmpd.errors import ConfigError
from mmpd.evaluation.measure import measure
from mmpd.report.tables import measurement_tables
from mmpd.run.seeds import summarise, summary_table
from mmpd.run.stages import run_stages
from tests.sr.toys import toy_chain, toy_edsr

import pytest
import torch
from mmengine.config import Config


def test_a_chain_trains_and_its_student_is_measured_by_set(tmp_path: Path):
    chain = read_chain(toy_chain(tmp_path))
    done = run_stages(chain, tmp_path / 'work', announce=False, check=True)
    student = Path(done['student'])
    assert student.name == 'student_best.pth'
    keys = torch.load(student, weights_only=True)['state_dict'].keys()
    assert all(key.startswith('backbone.') for key in keys)  # neither guide nor terms
    result = measure(bench_config(chain.stages['student']), student)
    assert {'PSNR_Y', 'SSIM_Y', 'PSNR_RGB', 'SSIM_RGB', 'PSNR_Y_A', 'PSNR_Y_B'} <= set(result.metrics)
    overall, parts = measurement_tables('student', result)
    assert [list(column.cells) for column in parts.columns][:2] == [['A', 'B'], ['2', '1']]
    assert {name: row['images'] for name, row in result.per_class.items()} == {'A': 2, 'B': 1}
    again = measure(Config.fromfile(student.parent / 'student.py'), student)
    assert again.metrics == result.metrics
    before = student.stat().st_mtime_ns
    run_stages(chain, tmp_path / 'work', announce=False)
    assert student.stat().st_mtime_ns == before  # finished stages are kept


def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path: Path):
    """Tiles and augmentations are drawn in the step: they must come back, too."""
    states = []
    for cut in (False, True):
        chain = read_chain(toy_chain(tmp_path))
        work = tmp_path / f'work{cut}'
        run_stages(chain, work, announce=False)
        if cut:
            folder = work / 'student'
            for name in ('epoch_2.pth', 'done.json', 'student_last.pth', 'student_best.pth'):
                (folder / name).unlink()
            run_stages(chain, work, announce=False)
        states.append(torch.load(work / 'student' / 'student_last.pth', weights_only=True)['state_dict'])
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_the_preflight_tries_every_term(tmp_path: Path):
    terms = dict(
        consistency=dict(type='ConsistencyTerm'),
        affinity=dict(type='AffinityTerm'),
        zoom_in=None,
    )
    chain = read_chain(toy_chain(tmp_path, **{f'stages.student.terms.{key}': value for key, value in terms.items()}))
    teacher, student = check_stages(chain.stages.values())
    assert not teacher.errors and not student.errors
    names = {row.name for row in student.losses if row.gradient > 0}
    assert names == {'loss_rec', 'loss_logits', 'loss_zoom_out', 'loss_consistency', 'loss_affinity'}
    assert '4 images' in student.data[0]


def test_pipelines_are_those_of_the_ratio(tmp_path: Path):
    chain = read_chain(toy_chain(tmp_path, ratio=4))
    config = stage_config(chain.stages['student'], 'unused', {'teacher': 'x'})
    pair = next(step for step in innermost(config.train_dataloader.dataset).pipeline if step['type'] == 'AlignedPair')
    assert (pair.ratio, tuple(pair.patch), pair.operator) == ('4', (16, 16), 'bicubic')
    assert config.model.student.backbone.scale == config.model.guide.backbone.scale == 4
    deploy = deploy_config(chain.stages['student'])
    assert 'mmpd.sr.register' in deploy.custom_imports.imports
    assert [step['type'] for step in deploy.test_dataloader.dataset.pipeline] == ['LoadImageFromFile', 'PackSRInputs']


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'ratio': '3/2'}, 'ratio = 3/2.*whole number'),
        ({'ratio': 1}, 'ratio = 1.*at least 2'),
        ({'ratio': 3}, 'hr_scale = .16, 16.*multiple of ratio = 3'),
        ({'stages.teacher.size': 'hr'}, "teacher.size = 'hr'.*'lr'"),
        ({'stages.student.detector': toy_edsr(scale=4)}, 'backbone.scale = 4, but ratio = 2'),
    ],
)
def test_wrong_chains_are_named(tmp_path: Path, changes: dict, message: str):
    chain = read_chain(toy_chain(tmp_path, **changes))
    with pytest.raises(ConfigError, match=message):
        for stage in chain.stages.values():
            stage_config(stage, 'unused', {'teacher': 'x'})


def test_bfloat16_training_keeps_float32_weights_and_losses(tmp_path: Path):
    chain = read_chain(toy_chain(tmp_path, **{'optim_wrapper.type': 'BFloat16OptimWrapper'}))
    done = run_stages(chain, tmp_path / 'work', announce=False)
    state = torch.load(done['student'], weights_only=True)['state_dict']
    assert {value.dtype for value in state.values()} == {torch.float32}


def test_a_summary_of_runs_is_in_db():
    summary = summarise([{'student': {'PSNR_Y': 33.0, 'SSIM_Y': 0.92}}, {'student': {'PSNR_Y': 34.0, 'SSIM_Y': 0.94}}])
    table = summary_table(summary, ('PSNR_Y', 'SSIM_Y', 'PSNR_Y_Set5'), fractions=False)
    assert [list(column.cells)[0] for column in table.columns] == ['student', '33.5 ± 0.71', '0.93 ± 0.014']
    assert 'per cent' not in str(table.title)
