"""Finite, decreasing and repeatable: the numbers of a distillation stage on the toy chain."""

from itertools import pairwise
from pathlib import Path

from mmpd.chain.chain import read_chain
from mmpd.chain.stage_config import stage_config
from mmpd.io.read import load_checkpoint
from mmpd.io.resume import latest_intact
from mmpd.run.stages import run_stages
from mmpd.run.train import train
from mmpd.terms.feature import FeatureTerm
from tests.toys import save_weights, toy_chain, toy_retinanet

import pytest
import torch
from mmdet.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.optim.optimizer import amp_optimizer_wrapper
from mmengine.runner import amp


@HOOKS.register_module(force=True)
class Losses(Hook):
    """Keeps what is logged in each iteration."""

    logged: list[dict[str, float]] = []

    def before_train(self, runner) -> None:
        Losses.logged = []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        self.logged.append({name: float(value.detach()) for name, value in outputs.items()})


@pytest.fixture(scope='module')
def root(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('chain')
    save_weights(toy_retinanet(base_channels=8), folder / 'teacher.pth')
    return folder


def assistant_stage(root: Path, work_dir: Path, epochs: int, **changes):
    """Config of the stage `assistant`, whose teacher has weights; no validation but the last."""
    config = toy_chain(root, epochs=epochs, **{'schedule.val_interval': epochs, **changes})
    return stage_config(read_chain(config).stages['assistant'], work_dir, {'teacher': str(root / 'teacher.pth')})


def run(config) -> list[dict[str, float]]:
    config.custom_hooks.append(dict(type='Losses'))
    config.default_hooks.checkpoint.interval = config.train_cfg.max_epochs
    train(config)
    return Losses.logged


def test_nan_in_a_term_stops_the_chain_and_the_last_checkpoint_is_good(root, tmp_path, monkeypatch):
    calls, forward = [], FeatureTerm.forward

    def poisoned(term, step):
        calls.append(1)
        losses = forward(term, step)
        return {name: value * float('nan') for name, value in losses.items()} if len(calls) == 3 else losses

    monkeypatch.setattr(FeatureTerm, 'forward', poisoned)
    chain = read_chain(toy_chain(root, epochs=2, **{'stages.teacher.checkpoint': str(root / 'teacher.pth')}))
    with pytest.raises(RuntimeError) as stop:
        run_stages(chain, tmp_path, only='assistant', announce=False)
    message = str(stop.value)
    assert message.startswith('loss_feature=nan in iteration 3 (epoch 2) on images [')
    assert message.count('train_') >= 2 and 'JPEGImages/train_' in message, 'both images of the batch are named'
    assert 'loss_response_cls=' in message, 'the finite terms are shown as well'
    last = latest_intact(tmp_path / 'assistant')
    assert last is not None and last.name == 'epoch_1.pth'
    assert all(value.isfinite().all() for value in load_checkpoint(last)['state_dict'].values())
    assert not (tmp_path / 'assistant/done.json').exists()
    monkeypatch.undo()
    run_stages(chain, tmp_path, only='assistant', announce=False)  # the same command goes on from there
    assert (tmp_path / 'assistant/done.json').exists()


EPOCHS = 8


@pytest.fixture
def amp_on_cpu(monkeypatch):
    """mmengine's AmpOptimWrapper asks for a GPU; torch's autocast and scaler work on a CPU as well."""
    monkeypatch.setattr(amp_optimizer_wrapper, 'is_cuda_available', lambda: True)
    monkeypatch.setattr(amp, 'autocast', lambda dtype: torch.autocast('cpu', dtype=dtype))
    monkeypatch.setattr(amp_optimizer_wrapper, 'GradScaler', lambda **kwargs: torch.amp.GradScaler('cpu', **kwargs))


@pytest.mark.parametrize(
    'optimizer',
    [
        dict(type='AmpOptimWrapper', dtype='float16', loss_scale=dict(init_scale=128.0)),
        dict(type='AmpOptimWrapper', dtype='bfloat16'),
        dict(type='OptimWrapper', accumulative_counts=2),
    ],
    ids=['fp16', 'bf16', 'accumulation'],
)
def test_losses_stay_finite_and_fall(root, tmp_path, amp_on_cpu, optimizer):
    """All four images in each step and no flips, so that the losses of two steps can be compared."""
    config = assistant_stage(root, tmp_path, EPOCHS, **{'data.batch_size': 4, 'data.augment': []})
    config.optim_wrapper.update(optimizer)
    config.optim_wrapper.optimizer = dict(type='Adam', lr=2e-3)
    losses = run(config)
    assert len(losses) == EPOCHS
    assert all(torch.isfinite(torch.tensor(list(step.values()))).all() for step in losses)
    assert {'loss_feature', 'loss_response_cls', 'loss_isrd', 'loss_cls'} <= losses[0].keys()
    totals = [step['loss'] for step in losses]
    assert all(later < earlier + 0.01 for earlier, later in pairwise(totals)), totals
    assert totals[-1] < totals[0] - 0.2, totals
    weights = load_checkpoint(tmp_path / f'assistant/epoch_{EPOCHS}.pth')['state_dict']
    assert all(value.dtype == torch.float32 for value in weights.values() if value.is_floating_point())


def test_amp_gives_nearly_the_losses_of_fp32(root, tmp_path, amp_on_cpu):
    """Were autocast off, or the response computed in fp16, this would be exact, or far off."""
    plain = run(assistant_stage(root, tmp_path / 'fp32', 1))[0]
    config = assistant_stage(root, tmp_path / 'bf16', 1)
    config.optim_wrapper.update(type='AmpOptimWrapper', dtype='bfloat16')
    half = run(config)[0]
    assert half == pytest.approx(plain, rel=0.05, abs=0.02)
    assert half['loss_feature'] != plain['loss_feature']


def test_two_runs_with_one_seed_are_identical_whatever_the_workers_and_another_seed_is_not(root, tmp_path):
    def one(name: str, **changes) -> tuple[list[dict[str, float]], dict[str, torch.Tensor]]:
        losses = run(assistant_stage(root, tmp_path / name, 1, **changes))
        return losses, load_checkpoint(tmp_path / name / 'assistant/epoch_1.pth')['state_dict']

    (first, weights), (again, others) = one('a'), one('b', **{'data.num_workers': 2})
    assert again == first
    assert all(torch.equal(weights[key], others[key]) for key in weights)
    assert one('c', **{'randomness.seed': 1})[0] != first
