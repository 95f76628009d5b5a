"""Resume with another number of iterations per epoch, which is what another number of processes means."""

import contextlib

import pytest
from mmengine.hooks import Hook

EPOCHS = 6
SCHEDULERS = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=2),
    dict(type='CosineAnnealingLR', T_max=EPOCHS, begin=0, end=EPOCHS, by_epoch=True, convert_to_iter_based=True),
]


class Rates(Hook):
    """Records the learning rate, the epoch and the iteration at the start of each epoch."""

    def __init__(self) -> None:
        self.rates: dict[int, float] = {}
        self.iterations: dict[int, int] = {}

    def before_train_epoch(self, runner) -> None:
        self.rates[runner.epoch] = runner.optim_wrapper.get_lr()['lr'][0]
        self.iterations[runner.epoch] = runner.iter


def train(make_runner, name, batch, hooks, stop=None, **kwargs) -> Rates:
    rates = Rates()
    runner = make_runner(
        epochs=EPOCHS, name=name, hooks=[*hooks, rates], loader=dict(batch_size=batch), schedulers=SCHEDULERS, **kwargs
    )
    if stop:
        runner.register_hook(Stop(stop), priority='LOWEST')
    with contextlib.suppress(InterruptedError):
        runner.train()
    return rates


class Stop(Hook):
    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def before_train_epoch(self, runner) -> None:
        if runner.epoch == self.epoch:
            raise InterruptedError


@pytest.mark.parametrize(('before', 'after'), [(2, 3), (3, 2), (3, 6), (6, 3)])
def test_schedules_keep_their_place(make_runner, before, after):
    """Six samples: batches of 2, 3, 6 make 3, 2, 1 iterations an epoch."""
    hook = [dict(type='EpochLengthHook')]
    whole = train(make_runner, f'whole{before}{after}', after, hook)
    train(make_runner, f'cut{before}{after}', before, hook, stop=3)
    rest = train(make_runner, f'cut{before}{after}', after, hook, resume=True)
    assert set(rest.rates) == {3, 4, 5}
    assert rest.iterations == {epoch: whole.iterations[epoch] for epoch in rest.iterations}
    assert rest.rates == pytest.approx({epoch: whole.rates[epoch] for epoch in rest.rates}, rel=0.02)


def test_without_the_hook_the_schedule_ends_elsewhere(make_runner):
    """What the test above would not notice is no test: mmengine alone leaves the cosine on the old iterations."""
    whole = train(make_runner, 'whole', 2, [])
    train(make_runner, 'cut', 6, [], stop=3)
    rest = train(make_runner, 'cut', 2, [], resume=True)
    assert rest.rates[4] != pytest.approx(whole.rates[4], rel=0.1)
    assert rest.iterations[3] != whole.iterations[3]


def test_an_ordinary_resume_is_left_alone(make_runner):
    hook = [dict(type='EpochLengthHook')]
    whole = train(make_runner, 'whole', 2, hook)
    train(make_runner, 'cut', 2, hook, stop=3)
    rest = train(make_runner, 'cut', 2, hook, resume=True)
    assert rest.rates == {epoch: whole.rates[epoch] for epoch in rest.rates}
