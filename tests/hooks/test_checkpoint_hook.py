"""AtomicCheckpointHook on a real Runner: what is on disk after a kill, a full disk, a resume."""

import errno
import os
from pathlib import Path

from mmpd.errors import CheckpointError, ConfigError
from mmpd.hooks.checkpoint_hook import AtomicCheckpointHook
from mmpd.io import write as atomic
from mmpd.io.read import load_checkpoint
from mmpd.io.resume import latest_intact
from mmpd.io.state import load_into

import pytest
import torch
from mmengine.hooks import Hook


class Killed(BaseException):
    """Stands for SIGKILL: nothing in mmpd or mmengine may catch it."""


class Die(Hook):
    """Killed in epoch `epoch` (from 1): in its 2nd iteration, or in the validation after it."""

    priority = 'VERY_HIGH'

    def __init__(self, epoch: int, where: str = 'train') -> None:
        self.epoch, self.where = epoch, where

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if (self.where, runner.epoch + 1, batch_idx) == ('train', self.epoch, 1):
            raise Killed

    def before_val_epoch(self, runner):
        if (self.where, runner.epoch) == ('val', self.epoch):
            raise Killed


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if '.pth' in path.name)


def weights(runner) -> dict[str, torch.Tensor]:
    return {key: value.clone() for key, value in runner.model.state_dict().items()}


def assert_equal(a: dict, b: dict) -> None:
    assert a.keys() == b.keys()
    assert all(torch.equal(a[key], b[key]) for key in a)


def kill_at(monkeypatch, count: int, after: bool = False) -> None:
    """Die at the `count`-th rename: just before it (the file is written beside), or just after."""
    real, calls = os.replace, []

    def replace(source, target):
        calls.append(target)
        if len(calls) == count and not after:
            raise Killed
        real(source, target)
        if len(calls) == count:
            raise Killed

    monkeypatch.setattr(atomic.os, 'replace', replace)


def test_files_of_a_whole_run(make_runner, toy_metric, tmp_path):
    toy_metric.scores = {1: 0.1, 2: 0.5, 3: 0.3}
    make_runner().train()
    folder = tmp_path / 'run'
    assert names(folder) == [
        'best_toy_AP_epoch_2.pth', 'epoch_2.pth', 'epoch_3.pth', 'student_best.pth', 'student_last.pth',
    ]  # fmt: skip
    assert (folder / 'last_checkpoint').read_text() == str(folder / 'epoch_3.pth')


def test_plain_files_load_without_any_allow_list(make_runner, toy_metric, tmp_path):
    toy_metric.scores = {1: 0.1, 2: 0.5, 3: 0.3}
    runner = make_runner()
    runner.train()
    last = torch.load(tmp_path / 'run/student_last.pth', weights_only=True)
    best = torch.load(tmp_path / 'run/student_best.pth', weights_only=True)
    assert_equal(last['state_dict'], runner.model.student.state_dict())
    assert set(best['meta']) == {'epoch', 'iter', 'dataset_meta', 'best_score'}
    assert (best['meta']['epoch'], best['meta']['best_score']) == (2, 0.5)
    assert best['meta']['dataset_meta']['classes'] == ('disc', 'ring')
    assert str(tmp_path) not in str(best['meta'])


def test_ema_weights_are_in_the_plain_file(make_runner, tmp_path):
    runner = make_runner(epochs=2, hooks=[dict(type='EMAHook', momentum=0.5)])
    runner.train()
    ema = next(hook for hook in runner.hooks if type(hook).__name__ == 'EMAHook').ema_model.module
    plain = load_checkpoint(tmp_path / 'run/student_last.pth')['state_dict']
    assert_equal(plain, ema.student.state_dict())
    assert not torch.equal(plain['0.weight'], runner.model.student[0].weight)


@pytest.mark.parametrize('ema', [(), (dict(type='EMAHook', momentum=0.5),)])
def test_a_resumed_run_equals_an_uninterrupted_one(make_runner, toy_metric, tmp_path, ema):
    toy_metric.scores = {1: 0.1, 2: 0.5, 3: 0.3, 4: 0.4}
    whole = make_runner(epochs=4, name='whole', hooks=ema)
    whole.train()
    first = make_runner(epochs=4, name='cut', hooks=ema)
    first.register_hook(Die(3))
    with pytest.raises(Killed):
        first.train()
    second = make_runner(epochs=4, name='cut', hooks=ema, resume=True)
    second.train()
    assert_equal(weights(whole), weights(second))
    for name in ('student_last.pth', 'student_best.pth'):
        a, b = (load_checkpoint(tmp_path / run / name) for run in ('whole', 'cut'))
        assert_equal(a['state_dict'], b['state_dict'])
        assert a['meta'] == b['meta']


def test_a_validation_that_was_cut_off_is_caught_up(make_runner, toy_metric, tmp_path):
    """Epoch 2 is the best; the run dies before it is validated: without the catch-up the best would be epoch 1."""
    toy_metric.scores = {1: 0.3, 2: 0.9, 3: 0.1}
    first = make_runner()
    first.register_hook(Die(2, 'val'))
    with pytest.raises(Killed):
        first.train()
    assert names(tmp_path / 'run')[0] == 'best_toy_AP_epoch_1.pth'
    toy_metric.seen.clear()
    make_runner(resume=True).train()
    assert toy_metric.seen == [2, 3]
    assert names(tmp_path / 'run')[0] == 'best_toy_AP_epoch_2.pth'
    assert load_checkpoint(tmp_path / 'run/student_best.pth')['meta']['epoch'] == 2


def test_a_finished_run_resumes_to_nothing(make_runner, toy_metric, tmp_path):
    toy_metric.scores = {1: 0.1, 2: 0.2, 3: 0.9}
    make_runner().train()
    before = {path: path.read_bytes() for path in (tmp_path / 'run').glob('*.pth')}
    toy_metric.seen.clear()
    runner = make_runner(resume=True)
    runner.train()
    assert toy_metric.seen == []  # epoch 3 is recorded as validated
    assert runner.message_hub.get_info('best_score') == 0.9
    assert before.keys() == set((tmp_path / 'run').glob('*.pth'))


MOMENTS = [(moment, after) for after in (False, True) for moment in range(1, 21)]


@pytest.mark.parametrize(
    ('moment', 'after'),
    [pytest.param(*each, marks=[] if sum(each) % 2 else [pytest.mark.soak]) for each in MOMENTS],
)
def test_killed_around_any_write(make_runner, toy_metric, tmp_path, monkeypatch, moment, after):
    """All files are whole at every moment, at most one epoch is lost, and the end is that of an uninterrupted run."""
    toy_metric.scores = {1: 0.1, 2: 0.5, 3: 0.3}
    with monkeypatch.context() as patch:
        kill_at(patch, moment, after)
        try:
            make_runner().train()
        except Killed:
            killed = True
        else:
            killed = False
    folder = tmp_path / 'run'
    assert killed == (moment <= 19)  # writes of a run of 3 epochs, two of them a new best
    for path in folder.glob('*.pth'):
        load_checkpoint(path)
    runner = make_runner(resume=True)
    runner.train()
    assert (runner.epoch, runner.message_hub.get_info('best_score')) == (3, 0.5)
    assert names(folder) == [
        'best_toy_AP_epoch_2.pth', 'epoch_2.pth', 'epoch_3.pth', 'student_best.pth', 'student_last.pth',
    ]  # fmt: skip
    epochs = [load_checkpoint(folder / f'student_{which}.pth')['meta']['epoch'] for which in ('best', 'last')]
    assert epochs == [2, 3]


def test_a_full_disk_names_the_reason_and_keeps_the_last_good_checkpoint(make_runner, tmp_path, monkeypatch):
    runner = make_runner(save_best=None)
    real = os.fsync

    def full(descriptor):
        if runner.epoch >= 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    monkeypatch.setattr(atomic.os, 'fsync', full)
    with pytest.raises(CheckpointError, match='epoch_2.pth .*No space left on device'):
        runner.train()
    assert names(tmp_path / 'run') == ['epoch_1.pth', 'student_last.pth']
    assert latest_intact(tmp_path / 'run') == tmp_path / 'run/epoch_1.pth'


def test_a_damaged_newest_checkpoint_is_set_aside_and_the_one_before_is_used(make_runner, tmp_path):
    make_runner(epochs=2).train()
    newest = tmp_path / 'run/epoch_2.pth'
    newest.write_bytes(newest.read_bytes()[:500])
    (tmp_path / 'run/last_checkpoint').write_text('')  # damaged as well: not asked
    runner = make_runner(epochs=2, resume=True)
    runner.train()
    assert runner.epoch == 2
    assert 'epoch_2.pth.stale' in names(tmp_path / 'run')
    load_checkpoint(newest)


def test_the_best_of_epochs_that_are_run_again_does_not_stay(make_runner, toy_metric, tmp_path):
    """Epoch 3, the best, is damaged and worse when it is run again (on a GPU): score and file are of one network."""
    toy_metric.scores = {1: 0.5, 2: 0.1, 3: 0.9}
    make_runner().train()
    (tmp_path / 'run/epoch_3.pth').write_bytes(b'damaged')
    toy_metric.scores = {2: 0.1, 3: 0.2}
    runner = make_runner(resume=True)
    runner.train()
    best = load_checkpoint(tmp_path / 'run/student_best.pth')
    assert names(tmp_path / 'run')[0] == 'best_toy_AP_epoch_3.pth'
    assert best['meta']['best_score'] == runner.message_hub.get_info('best_score') == 0.2
    assert_equal(best['state_dict'], runner.model.student.state_dict())


def test_a_fresh_run_is_not_mistaken_for_the_one_before_in_its_folder(make_runner, tmp_path):
    make_runner(epochs=3).train()
    fresh = make_runner(epochs=3)
    fresh.register_hook(Die(2))
    with pytest.raises(Killed):
        fresh.train()
    assert latest_intact(tmp_path / 'run') == tmp_path / 'run/epoch_1.pth'


def test_the_older_file_is_there_while_the_new_one_is_written(make_runner, tmp_path, monkeypatch):
    seen = []
    real = atomic.os.replace

    def replace(source, target):
        seen.append((Path(target).name, {'epoch_1.pth', 'epoch_2.pth'} & set(names(tmp_path / 'run'))))
        real(source, target)

    monkeypatch.setattr(atomic.os, 'replace', replace)
    make_runner(epochs=3, save_best=None).train()
    assert ('epoch_3.pth', {'epoch_1.pth', 'epoch_2.pth'}) in seen
    assert names(tmp_path / 'run')[:2] == ['epoch_2.pth', 'epoch_3.pth']


def test_the_best_path_follows_a_moved_work_dir(make_runner, toy_metric, tmp_path):
    toy_metric.scores = {1: 0.1, 2: 0.2, 3: 0.9}
    make_runner(epochs=2, name='old').train()
    (tmp_path / 'old').rename(tmp_path / 'new')
    make_runner(epochs=3, name='new', resume=True).train()
    assert names(tmp_path / 'new')[0] == 'best_toy_AP_epoch_3.pth'
    assert not (tmp_path / 'old').exists()


def test_the_plain_file_loads_into_the_network_alone(make_runner, tmp_path):
    runner = make_runner(epochs=1)
    runner.train()
    student = torch.nn.Sequential(torch.nn.Linear(2, 1), torch.nn.BatchNorm1d(1))
    load_into(student, tmp_path / 'run/student_last.pth')
    assert_equal(student.state_dict(), runner.model.student.state_dict())


def test_wrong_arguments_name_the_key():
    with pytest.raises(ConfigError, match='out_dir'):
        AtomicCheckpointHook(out_dir='/elsewhere')
    with pytest.raises(ConfigError, match='save_best.*one metric'):
        AtomicCheckpointHook(save_best=['a', 'b'])


def test_an_absent_metric_is_named(make_runner):
    with pytest.raises(ConfigError, match="save_best='pascal_voc/mAP'.*toy/AP"):
        make_runner(save_best='pascal_voc/mAP').train()
