"""RKD in training: killed and continued, accumulation, half precision, and what is in which file."""

from pathlib import Path

from mmpd.chain.chain import read_chain
from mmpd.chain.stage_config import stage_config
from mmpd.io.read import load_checkpoint
from mmpd.io.resume import latest_intact
from mmpd.run.train import train
from tests.terms.test_rkd import RKD
from tests.toys import save_weights, toy_chain, toy_retinanet

import pytest
import torch
from mmdet.registry import HOOKS
from mmengine.hooks import Hook


class Cut(Exception):
    """Stands for SIGKILL; tests/faults has the real one."""


@HOOKS.register_module(force=True)
class CutAtHook(Hook):
    """Ends the run before iteration `at`; -1: never."""

    def __init__(self, at: int) -> None:
        self.at = at

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        if runner.iter == self.at:
            raise Cut


def stage(root: Path, work_dir: Path, cut: int = -1, **changes):
    """The student's stage with RKD's terms, two epochs of two iterations."""
    if not (root / 'guide.pth').is_file():
        save_weights(toy_retinanet(), root / 'guide.pth')
    config = toy_chain(root, epochs=2, **{'schedule.val_interval': 2, **changes})
    config.stages.student.terms = RKD
    config.stages.student.init_from = None
    config.optim_wrapper.optimizer = dict(type='Adam', lr=1e-3)
    config.custom_hooks = [dict(type='CutAtHook', at=cut), dict(type='EMAHook')]
    return stage_config(read_chain(config).stages['student'], work_dir, {'assistant': str(root / 'guide.pth')})


def last(work_dir: Path) -> dict:
    return load_checkpoint(work_dir / 'student/epoch_2.pth')


def test_a_run_cut_and_continued_equals_the_uncut_one_bit_for_bit(tmp_path):
    """Discriminator with its spectral norm, ramp, running accuracy, subsampled sets; and Adam's moments of all that."""
    train(stage(tmp_path, tmp_path / 'whole'))
    with pytest.raises(Cut):
        train(stage(tmp_path, tmp_path / 'cut', cut=3))
    resume = latest_intact(tmp_path / 'cut/student')
    assert resume is not None and resume.name == 'epoch_1.pth'
    train(stage(tmp_path, tmp_path / 'cut'), resume_from=str(resume))
    for part in ('state_dict', 'ema_state_dict'):
        whole, cut = last(tmp_path / 'whole')[part], last(tmp_path / 'cut')[part]
        assert whole.keys() == cut.keys()
        assert [key for key in whole if not torch.equal(whole[key], cut[key])] == []
    state = last(tmp_path / 'whole')['state_dict']
    assert int(state['terms.adversarial.steps']) == 4 and float(state['terms.adversarial.accuracy']) != 0.5
    shipped = load_checkpoint(next((tmp_path / 'whole/student').glob('student_*.pth')))['state_dict']
    assert not any('terms' in key or 'discriminator' in key for key in shipped)


def test_accumulation_trains_the_discriminator_too(tmp_path):
    before = stage(tmp_path, tmp_path / 'run', **{'optim_wrapper.accumulative_counts': 2})
    train(before)
    state = last(tmp_path / 'run')['state_dict']
    weights = [value for key, value in state.items() if key.endswith('weight.original')]
    assert len(weights) == 3 and all(value.isfinite().all() for value in weights)
    assert float(state['terms.adversarial.discriminator.layers.4.bias']) != 0
