"""What a stage's folder says: which keys differ, and that a stage can be trained longer."""

import shutil

from mmpd.chain.chain import read_chain
from mmpd.chain.stage_config import stage_config
from mmpd.errors import CheckpointError, ConfigError
from mmpd.run.stages import console, run_stages
from mmpd.run.state import _is_longer, read_json
from tests.toys import toy_chain

import pytest
from mmdet.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.runner import Runner


@HOOKS.register_module(force=True)
class RateHook(Hook):
    """Keeps (epoch, iteration, learning rate) of what was trained, and can stop a run as a kill does."""

    seen: list[tuple[int, int, float]] = []
    stop_at: int | None = None

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        if runner.iter == RateHook.stop_at:
            raise KeyboardInterrupt
        RateHook.seen.append((runner.epoch, runner.iter, runner.optim_wrapper.get_lr()['lr'][0]))


def teacher(root, epochs: int):
    config = toy_chain(root, epochs=epochs, custom_hooks=[dict(type='RateHook')])
    config.stages = dict(teacher=config.stages.teacher)
    return read_chain(config)


@pytest.fixture(autouse=True)
def _fresh():
    RateHook.seen, RateHook.stop_at = [], None


@pytest.fixture
def copied(finished_chain, tmp_path):
    shutil.copytree(finished_chain.work_dir, tmp_path / 'work')
    return finished_chain.root, tmp_path / 'work'


def test_a_finished_stage_trains_longer_with_the_rate_that_the_longer_schedule_has_there(tmp_path):
    run_stages(teacher(tmp_path, 3), tmp_path / 'whole', announce=False)
    whole = RateHook.seen
    RateHook.seen = []
    run_stages(teacher(tmp_path, 1), tmp_path / 'work', announce=False)
    per_epoch = len(RateHook.seen)
    RateHook.seen, RateHook.stop_at = [], per_epoch + 1
    with pytest.raises(KeyboardInterrupt):  # cut before the first longer epoch has a checkpoint
        run_stages(teacher(tmp_path, 3), tmp_path / 'work', announce=False)
    assert not (tmp_path / 'work/teacher/done.json').exists()
    RateHook.seen, RateHook.stop_at = [], None
    run_stages(teacher(tmp_path, 3), tmp_path / 'work', announce=False)
    assert [step[:2] for step in RateHook.seen] == [step[:2] for step in whole[per_epoch:]]
    assert [step[2] for step in RateHook.seen] == pytest.approx([step[2] for step in whole[per_epoch:]], rel=1e-6)
    assert read_json(tmp_path / 'work/teacher/done.json')['epochs'] == 3


def test_a_shorter_schedule_is_another_config(tmp_path):
    run_stages(teacher(tmp_path, 2), tmp_path / 'work', announce=False)
    with pytest.raises(ConfigError, match=r'train_cfg.max_epochs: 2 → 1'):
        run_stages(teacher(tmp_path, 1), tmp_path / 'work', announce=False)


def test_a_longer_schedule_from_other_weights_is_another_training(tmp_path):
    run_stages(teacher(tmp_path, 1), tmp_path / 'first', announce=False)
    start = tmp_path / 'start.pth'
    shutil.copy(tmp_path / 'first/teacher/teacher_best.pth', start)

    def longer(epochs: int) -> None:
        config = toy_chain(tmp_path, epochs=epochs, **{'stages.teacher.init_from': str(start)})
        config.stages = dict(teacher=config.stages.teacher)
        run_stages(read_chain(config), tmp_path / 'work', announce=False)

    longer(1)
    longer(2)
    shutil.copy(tmp_path / 'work/teacher/teacher_best.pth', start)
    with pytest.raises(ConfigError, match='the file that it starts from'):
        longer(3)


def test_only_the_length_of_a_longer_schedule_may_differ(tmp_path):
    def made(epochs: int, **schedule):
        chain = read_chain(toy_chain(tmp_path, epochs=epochs, schedule=schedule))
        return stage_config(chain.stages['teacher'], tmp_path / 'work', {})

    steps = dict(milestones=[1], gamma=0.5)
    assert _is_longer(made(2), made(3)) and not _is_longer(made(3), made(2))
    assert _is_longer(made(2, **steps), made(3, milestones=[2], gamma=0.5))
    for other in (dict(warmup_iters=50), steps):
        assert not _is_longer(made(2), made(3, **other))
    assert not _is_longer(made(2, **steps), made(3, milestones=[1], gamma=0.1))


def test_the_keys_that_differ_are_named_with_both_values(copied):
    root, work_dir = copied
    with pytest.raises(ConfigError, match=r'finished with another config.*optim_wrapper.optimizer.lr: 0.01 → 0.02'):
        run_stages(read_chain(toy_chain(root, **{'optim_wrapper.optimizer.lr': 0.02})), work_dir, announce=False)


@pytest.mark.parametrize('key', ['stages.student.init_from', 'stages.assistant.checkpoint'])
@pytest.mark.parametrize('ending', ['.pth', '.pt'])
def test_files_of_later_stages_are_looked_for_before_the_first(tmp_path, monkeypatch, key, ending):
    monkeypatch.setattr(Runner, 'train', lambda self: pytest.fail('trained'))
    file = f'nowhere{ending}'
    with pytest.raises(CheckpointError, match=f'{key} = .{file}.: no such file'):
        run_stages(read_chain(toy_chain(tmp_path, **{key: file})), tmp_path / 'work', announce=False)


def test_weights_behind_a_url_are_fetched_before_the_first_stage_and_then_taken(copied, monkeypatch):
    root, work_dir = copied
    fetched = []
    monkeypatch.setattr('mmpd.run.stages.load_url_checkpoint', fetched.append)
    monkeypatch.setattr(Runner, 'train', lambda self: pytest.fail('trained'))
    url = 'https://example.org/teacher.pth'
    chain = read_chain(toy_chain(root, **{'stages.teacher.checkpoint': url}))
    with pytest.raises(ConfigError, match='another config or guide'):  # the assistant had another guide
        run_stages(chain, work_dir, announce=False)
    assert fetched == [url]


def test_labels_that_changed_since_are_other_data(copied, tmp_path):
    root, work_dir = copied
    shutil.copytree(root / 'voc', tmp_path / 'voc')
    run_stages(read_chain(toy_chain(tmp_path)), work_dir, announce=False)  # the same data elsewhere
    first = next((tmp_path / 'voc/Annotations').glob('train*'))
    first.write_text(first.read_text().replace('<xmin>', '<xmin> '))
    with pytest.raises(ConfigError, match='train_dataloader.dataset.labels: '):
        run_stages(read_chain(toy_chain(tmp_path)), work_dir, announce=False)


def test_a_finished_chain_tells_of_no_preflight(copied, monkeypatch):
    root, work_dir = copied
    said: list[str] = []
    monkeypatch.setattr(console, 'print', lambda *parts, **_: said.extend(map(str, parts)))
    run_stages(read_chain(toy_chain(root)), work_dir, check=True)
    assert len(said) == 3 and not [line for line in said if 'preflight' in line]
