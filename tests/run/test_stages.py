"""A chain end to end, in seconds: order, hand-off, skipping, resuming, and what is in every file."""

import importlib.util
import json
import shutil
from pathlib import Path

from mmpd.chain.chain import read_chain
from mmpd.distill.distiller import Distiller
from mmpd.errors import CheckpointError, ConfigError
from mmpd.io.read import load_checkpoint
from mmpd.run.lock import WorkDirBusy, WorkDirLock
from mmpd.run.stages import _speaker, run_stages
from mmpd.run.state import finished_checkpoint
from mmpd.run.train import train
from tests.toys import toy_chain

import pytest
import torch
from mmdet.registry import HOOKS
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

REPOSITORY = Path(__file__).resolve().parents[2]
EMA = [dict(type='EMAHook', ema_type='ExponentialMovingAverage', momentum=0.1, update_buffers=True)]


class Cut(Exception):
    """Stands for a kill: nothing after it runs."""


@HOOKS.register_module(force=True)
class CutHook(Hook):
    """Raises Cut before iteration `at` of the stage `stage` while `active`."""

    active = False

    def __init__(self, stage: str, at: int) -> None:
        self.stage, self.at = stage, at

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        if CutHook.active and runner.iter == self.at and Path(runner.work_dir).name == self.stage:
            raise Cut


def weights(path) -> dict[str, torch.Tensor]:
    return torch.load(path, weights_only=True)['state_dict']


def assert_same(first: dict, second: dict) -> None:
    assert first.keys() == second.keys()
    assert [key for key in first if not torch.equal(first[key], second[key])] == []


@pytest.fixture
def copied(finished_chain, tmp_path):
    """A finished chain in a folder of its own, to be changed."""
    shutil.copytree(finished_chain.work_dir, tmp_path / 'work')
    return finished_chain.root, tmp_path / 'work'


# --- what a finished chain has left ---


def test_every_stage_leaves_weights_configs_and_a_record(finished_chain):
    assert list(finished_chain.checkpoints) == ['teacher', 'assistant', 'student']
    for name, file in finished_chain.checkpoints.items():
        folder = finished_chain.work_dir / name
        assert Path(file) == folder / f'{name}_best.pth' and finished_checkpoint(folder) == file
        for left in (f'{name}.py', 'deploy.py', 'bench.py', 'epoch_1.pth', f'{name}_last.pth'):
            assert (folder / left).is_file(), left
        done = json.loads((folder / 'done.json').read_text())
        assert (done['stage'], done['epochs'], done['checkpoint']) == (name, 1, f'{name}_best.pth')
        assert 0 <= done['best_score'] <= 1


def test_no_guide_is_in_any_file(finished_chain):
    for name in ('assistant', 'student'):
        state = load_checkpoint(finished_chain.work_dir / name / 'epoch_1.pth')['state_dict']
        assert {key.split('.')[0] for key in state} == {'student', 'terms'}
        plain = weights(finished_chain.checkpoints[name])
        assert {key.split('.')[0] for key in plain} == {'backbone', 'neck', 'bbox_head'}
        assert plain.keys() == {key.removeprefix('student.') for key in state if key.startswith('student.')}


def test_each_stage_was_taught_by_the_one_before(finished_chain):
    for name, guide in (('assistant', 'teacher'), ('student', 'assistant')):
        config = Config.fromfile(finished_chain.work_dir / name / f'{name}.py')
        assert config.model.guide_checkpoint == finished_chain.checkpoints[guide]


def test_the_guide_equals_its_file_after_a_whole_training(finished_chain, tmp_path):
    """Invariant 2, with an averaged model beside: Runner.train() initialises every child, trains, validates, saves."""
    config = Config.fromfile(finished_chain.work_dir / 'student/student.py')
    config.work_dir = str(tmp_path)
    config.custom_hooks += EMA
    before = weights(config.model.guide_checkpoint)
    runner = train(config)
    assert isinstance(runner.model, Distiller) and runner.iter == 2
    assert_same(runner.model.guide.state_dict(), before)
    assert_same(weights(config.model.guide_checkpoint), before)
    assert not any(module.training for module in runner.model.guide.modules())
    checkpoint = load_checkpoint(tmp_path / 'epoch_1.pth')
    assert 'ema_state_dict' in checkpoint
    kept = {key.split('.')[1] for key in checkpoint['ema_state_dict'] if key != 'steps'}
    assert kept == {'student', 'terms'}


# --- again ---


def test_a_finished_chain_is_skipped(copied, monkeypatch):
    root, work_dir = copied
    monkeypatch.setattr(Runner, 'train', lambda self: pytest.fail('trained again'))
    stamps = {file: file.stat().st_mtime_ns for file in work_dir.rglob('*.pth')}
    assert run_stages(read_chain(toy_chain(root)), work_dir, announce=False)['student'] == str(
        work_dir / 'student/student_best.pth'
    )
    assert stamps == {file: file.stat().st_mtime_ns for file in work_dir.rglob('*.pth')}


def test_a_finished_stage_with_another_config_is_refused(copied):
    root, work_dir = copied
    with pytest.raises(ConfigError, match=r'stage student in .* was finished with another config.*--work-dir'):
        run_stages(read_chain(toy_chain(root, ratio=4)), work_dir, announce=False)


def test_stages_of_a_guide_that_was_trained_again_are_refused(copied, monkeypatch):
    """Else the old student would be handed out as the student of the new teacher."""
    root, work_dir = copied
    file = work_dir / 'teacher/teacher_best.pth'
    other = torch.load(file, weights_only=True)
    next(iter(other['state_dict'].values())).add_(1)
    torch.save(other, file)
    monkeypatch.setattr(Runner, 'train', lambda self: pytest.fail('trained again'))
    with pytest.raises(ConfigError, match=r'stage assistant in .* was finished with another config or guide'):
        run_stages(read_chain(toy_chain(root)), work_dir, announce=False)


def test_a_chain_goes_on_with_other_workers(copied, monkeypatch):
    root, work_dir = copied
    monkeypatch.setattr(Runner, 'train', lambda self: pytest.fail('trained again'))
    assert run_stages(read_chain(toy_chain(root, **{'data.num_workers': 2})), work_dir, announce=False)


def test_a_chain_goes_on_where_its_data_has_moved(copied, tmp_path, monkeypatch):
    root, work_dir = copied
    moved = tmp_path / 'moved'
    shutil.copytree(root / 'voc', moved / 'voc')
    with monkeypatch.context() as patch:
        patch.setattr(Runner, 'train', lambda self: pytest.fail('trained again'))
        run_stages(read_chain(toy_chain(moved)), work_dir, announce=False)
    split = moved / 'voc/ImageSets/Main/train.txt'
    split.write_text('\n'.join(split.read_text().split()[:-1]))
    with pytest.raises(ConfigError, match='finished with another config'):
        run_stages(read_chain(toy_chain(moved)), work_dir, announce=False)


def test_pretrained_weights_of_later_stages_are_asked_for_before_the_first(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr('mmpd.run.stages.load_url_checkpoint', asked.append)
    monkeypatch.setattr('mmpd.run.stages.preflight', lambda *args: pytest.fail('preflight before the weights'))
    init = dict(type='Pretrained', checkpoint='torchvision://resnet18')
    chain = toy_chain(tmp_path, pretrained=True, **{'stages.student.overrides.backbone.init_cfg': init})
    with pytest.raises(pytest.fail.Exception, match='preflight before'):
        run_stages(read_chain(chain), tmp_path / 'work', announce=False, check=True)
    assert asked == ['torchvision://resnet18']


def test_one_stage_alone_uses_what_is_finished(copied):
    root, work_dir = copied
    shutil.rmtree(work_dir / 'student')
    checkpoints = run_stages(read_chain(toy_chain(root)), work_dir, only='student', announce=False)
    assert set(checkpoints) == {'teacher', 'assistant', 'student'} and finished_checkpoint(work_dir / 'student')


def test_one_stage_alone_says_what_it_lacks(finished_chain, tmp_path):
    with pytest.raises(ConfigError, match=r"stage student needs \['assistant'\], not finished"):
        run_stages(finished_chain.chain, tmp_path, only='student', announce=False)
    with pytest.raises(ConfigError, match='--stage pupil: the stages of this chain are'):
        run_stages(finished_chain.chain, tmp_path, only='pupil', announce=False)


def test_a_given_teacher_is_used_and_not_trained(finished_chain, tmp_path):
    teacher = finished_chain.checkpoints['teacher']
    changes = {'stages.teacher.checkpoint': teacher}
    chain = read_chain(toy_chain(finished_chain.root, **changes))
    checkpoints = run_stages(chain, tmp_path, only='assistant', announce=False)
    assert checkpoints['teacher'] == teacher and not (tmp_path / 'teacher').exists()
    assert Config.fromfile(tmp_path / 'assistant/assistant.py').model.guide_checkpoint == teacher
    with pytest.raises(CheckpointError, match=r"stages.teacher.checkpoint = 'absent.pth': no such file"):
        run_stages(read_chain(toy_chain(finished_chain.root, **{'stages.teacher.checkpoint': 'absent.pth'})), tmp_path)


# --- killed and continued ---


def test_a_chain_killed_in_its_second_stage_ends_as_if_it_had_not_been(finished_chain, tmp_path, monkeypatch):
    """Bit for bit, on CPU: weights, BN statistics, decoders and averaged weights of every stage after it."""
    hooks = [dict(type='CutHook', stage='assistant', at=3), *EMA]
    chain = read_chain(
        toy_chain(
            finished_chain.root,
            epochs=2,
            custom_hooks=hooks,
            **{'stages.teacher.checkpoint': finished_chain.checkpoints['teacher']},
        )
    )
    whole = run_stages(chain, tmp_path / 'whole', announce=False)
    monkeypatch.setattr(CutHook, 'active', True)
    with pytest.raises(Cut):
        run_stages(chain, tmp_path / 'cut', announce=False)
    assert finished_checkpoint(tmp_path / 'cut/assistant') is None
    assert not (tmp_path / 'cut/student/begun.json').exists()
    monkeypatch.setattr(CutHook, 'active', False)
    continued = run_stages(chain, tmp_path / 'cut', announce=False)
    for name in ('assistant', 'student'):
        assert_same(weights(continued[name]), weights(whole[name]))
        last = [load_checkpoint(tmp_path / which / name / 'epoch_2.pth') for which in ('cut', 'whole')]
        assert_same(last[0]['state_dict'], last[1]['state_dict'])
        assert_same(last[0]['ema_state_dict'], last[1]['ema_state_dict'])


# --- on the command line ---


def test_a_stages_dumped_config_runs_by_itself(finished_chain, tmp_path):
    """It is an ordinary mmengine config: tools/train.py trains from it what the chain trained."""
    spec = importlib.util.spec_from_file_location('tools_train', REPOSITORY / 'tools/train.py')
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    tool.main([str(finished_chain.work_dir / 'student/student.py'), '--work-dir', str(tmp_path)])
    assert_same(weights(tmp_path / 'student_last.pth'), weights(finished_chain.work_dir / 'student/student_last.pth'))


def test_stages_of_one_work_dir_can_train_at_once_but_no_stage_twice(tmp_path):
    chain = read_chain(toy_chain(tmp_path))
    with WorkDirLock(tmp_path / 'assistant'):
        assert list(run_stages(chain, tmp_path, only='teacher', announce=False)) == ['teacher']
        for only in ('assistant', None):
            with pytest.raises(WorkDirBusy, match='assistant is already locked'):
                run_stages(chain, tmp_path, only=only, announce=False)


@pytest.mark.parametrize('text', ['in /data/[a]/x', 'in /runs/[/old]/x'])
def test_folders_are_told_as_they_are_called(capsys, text):
    _speaker(True, 'stage 1/1 [b]')(text)
    assert capsys.readouterr().out == f'mmpd stage 1/1 [b]: {text}\n'
