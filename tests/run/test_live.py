"""What a training shows: one line; the log's file has the rest."""

import io
import re

from mmpd.chain.chain import read_chain
from mmpd.run import live
from mmpd.run.stages import run_stages
from tests.toys import toy_chain

import pytest
from mmengine.logging import HistoryBuffer, MMLogger
from mmengine.logging.message_hub import MessageHub
from rich.console import Console


class Runner:
    """As much of a Runner as the line reads: iteration 5 of 10, in the first of two epochs."""

    def __init__(self) -> None:
        self.iter, self.max_iters, self.epoch, self.max_epochs = 0, 10, 0, 2
        self.cfg = dict(default_hooks=dict(checkpoint=dict(save_best='pd/AP')))
        self.message_hub = MessageHub('live')
        for name, value in (('loss', 1.5), ('loss_cls', 1.0), ('loss_feature', 0.5)):
            self.message_hub.log_scalars[f'train/{name}'] = HistoryBuffer(
                [9.0] + [value] * live.WINDOW, [1] * (live.WINDOW + 1)
            )


@pytest.fixture
def told(monkeypatch):
    """(share, text) that a hook shows of ten iterations of two seconds, validated after the fifth."""
    now = [100.0]
    monkeypatch.setattr(live.time, 'monotonic', lambda: now[0])
    shown: list[tuple[float, str]] = []
    runner = Runner()
    hook = live.LineHook(lambda *event: shown.append(event), every=4)
    hook.before_train(runner)
    for runner.iter in range(10):
        now[0] += 2
        runner.epoch = runner.iter // 5
        hook.after_train_iter(runner)
        if runner.iter == 4:
            hook.after_val_epoch(runner, {'pd/AP': 0.25, 'pd/AP50': 0.5})
            runner.message_hub.update_info('best_score', 0.25)
    return shown


def test_the_line_tells_what_is_left_the_last_ap_and_recent_losses(told):
    assert [share for share, _ in told] == [0.2, 0.4, 0.6, 0.8, 1.0]  # not more often than `every`
    assert told[1][1] == 'epoch 1/2, 40%, 0:12 left, loss 1.5, cls 1 feature 0.5'
    assert told[2][1] == 'epoch 2/2, 60%, 0:08 left, AP 0.250, best 0.250, loss 1.5, cls 1 feature 0.5'


def test_hours_are_told_as_hours():
    assert [live.clock(s) for s in (9, 599, 3600 + 61)] == ['0:09', '9:59', '1:01:01']


@pytest.fixture
def spoken(tmp_path, monkeypatch, capsys):
    """What a toy stage prints with `run_stages(**kwargs)`, and what its log file holds; a line an iteration."""

    def run(**kwargs) -> tuple[str, str]:
        monkeypatch.setattr(live, 'EVERY', 0.0)
        chain = read_chain(toy_chain(tmp_path, **{'log_level': 'INFO'}))
        run_stages(chain, tmp_path / 'work', only='teacher', **kwargs)
        (log,) = (tmp_path / 'work' / 'teacher').glob('*/*.log')
        return capsys.readouterr().out, log.read_text()

    return run


def test_outside_a_terminal_a_short_line_now_and_then_and_the_log_in_its_file(spoken):
    said, log = spoken()
    lines = said.splitlines()
    assert 'Epoch(train)' in log and 'SyncBatchNorm' in log
    assert len(lines) < 12 and all(
        line.startswith(('mmpd stage 1/3 teacher: ', 'teacher: epoch 1/1')) for line in lines
    )
    assert re.search(r'teacher: epoch 1/1, \d+%.* left.*loss', said)
    assert not re.search(r'[^\n\x20-\uffff]', said)  # no control characters


def test_verbose_brings_the_log_back(spoken):
    said, _ = spoken(show=live.Show(verbose=True))
    assert 'Epoch(train)' in said and 'SyncBatchNorm' in said


def test_warnings_reach_the_console(spoken, monkeypatch):
    before = live.LineHook.before_train

    def warn(self, runner) -> None:
        before(self, runner)
        MMLogger.get_current_instance().warning('the disk is nearly full')
        MMLogger.get_current_instance().info('nothing to see')

    monkeypatch.setattr(live.LineHook, 'before_train', warn)
    said, log = spoken()
    assert 'the disk is nearly full' in said and 'nothing to see' not in said
    assert 'the disk is nearly full' in log and 'nothing to see' in log


def test_in_a_terminal_one_line_stays_below_what_is_printed():
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=100, legacy_windows=False)
    with live.training_line('teacher', console) as hook:
        hook.show(0.5, 'epoch 1/2, ' + 'loss ' * 40)
        print('a warning')
    text = re.sub(r'\x1b\[[0-9;?]*[A-Za-z]', '', screen.getvalue())
    assert 'a warning\n' in text and max(map(len, re.split(r'[\r\n]+', text))) <= 100


@pytest.mark.parametrize('width', [60, 80, 200])
def test_in_a_narrow_terminal_the_losses_are_cut_and_nothing_before_them(width):
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=width, legacy_windows=False)
    with live.training_line('student', console) as hook:
        hook.show(0.5, 'epoch 10/20, 50%, 1:02:03 left, ' + 'response_bbox 0.25 ' * 12)
    lines = re.split(r'[\r\n]+', re.sub(r'\x1b\[[0-9;?]*[A-Za-z]', '', screen.getvalue()))
    (line,) = {line for line in lines if 'epoch 10' in line}
    assert re.match(r'student +\S{12} epoch 10/20, 50%, 1:02:03 left', line) and len(line) <= width
