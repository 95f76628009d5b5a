"""FiniteLossHook: a NaN stops the run with its name and leaves the last checkpoint good."""

from types import SimpleNamespace

from mmpd.hooks.finite_hook import FiniteLossHook
from mmpd.io.read import load_checkpoint
from mmpd.io.resume import latest_intact

import pytest
import torch

RUNNER = SimpleNamespace(iter=41, epoch=2)


@pytest.mark.parametrize('value', [float('nan'), float('inf'), -float('inf')])
def test_names_term_iteration_and_images(value):
    sample = SimpleNamespace(metainfo=dict(img_id='000012', img_path='VOC/000012.jpg'))
    outputs = dict(loss=torch.tensor(value), loss_cls=torch.tensor(0.25), loss_isrd=torch.tensor(value))
    with pytest.raises(RuntimeError) as error:
        FiniteLossHook().after_train_iter(RUNNER, 0, dict(data_samples=[sample]), outputs)
    message = str(error.value)
    assert message.startswith(f'loss_isrd={value} in iteration 42 (epoch 3)')
    assert '000012 (VOC/000012.jpg)' in message and 'loss_cls=0.25' in message


def test_finite_terms_pass_and_numbers_count_as_terms():
    FiniteLossHook().after_train_iter(RUNNER, 0, None, dict(loss=torch.tensor(1.0), acc=3))
    FiniteLossHook().after_train_iter(RUNNER, 0, None, None)
    with pytest.raises(RuntimeError, match='^loss=nan'):
        FiniteLossHook().after_train_iter(RUNNER, 0, None, dict(loss=float('nan')))


def test_the_last_good_checkpoint_stays(make_runner, tmp_path):
    runner = make_runner(hooks=[dict(type='FiniteLossHook')], save_best=None)
    runner.model.poison_at = 6  # the last iteration of epoch 2
    with pytest.raises(RuntimeError, match=r'loss_isrd=nan in iteration 6 \(epoch 2\)'):
        runner.train()
    last = latest_intact(tmp_path / 'run')
    assert last == tmp_path / 'run/epoch_1.pth'
    assert all(torch.isfinite(value).all() for value in load_checkpoint(last)['state_dict'].values())
