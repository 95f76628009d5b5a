"""SampleSeedHook: what depends on the epoch alone, whatever ran before."""

from types import SimpleNamespace

from mmpd.errors import ConfigError
from mmpd.hooks.seed_hook import SampleSeedHook, unwrap

import pytest
import torch
from mmengine.dataset import BaseDataset, ConcatDataset, RepeatDataset


class Two(BaseDataset):
    def load_data_list(self) -> list:
        return [dict(id=0), dict(id=1)]


def fake_runner(dataset, epoch=0, seed=3, persistent=False):
    loader = SimpleNamespace(dataset=dataset, persistent_workers=persistent)
    return SimpleNamespace(
        train_dataloader=loader, epoch=epoch, seed=seed, _randomness_cfg=dict(seed=seed), train_loop=None
    )


def test_the_epoch_reaches_every_wrapped_dataset():
    leaves = [Two(), Two(), Two()]
    inner = ConcatDataset(leaves[:2])
    wrapped = SimpleNamespace(datasets=[SimpleNamespace(dataset=inner), RepeatDataset(leaves[2], 2)])
    SampleSeedHook().before_train_epoch(fake_runner(wrapped, epoch=5))
    assert [leaf.epoch for leaf in leaves] == [5, 5, 5]
    assert {id(leaf) for leaf in leaves} <= {id(item) for item in unwrap(wrapped)}


def test_numbers_depend_on_seed_and_epoch_and_not_on_what_was_drawn_before():
    def draw(seed: int, epoch: int, before: int) -> float:
        torch.rand(before)
        SampleSeedHook(seed).before_train_epoch(fake_runner(Two(), epoch))
        return float(torch.rand(1))

    assert draw(1, 2, before=0) == draw(1, 2, before=9)
    assert len({draw(seed, epoch, 0) for seed in (0, 1) for epoch in (0, 1, 2)}) == 6


def test_persistent_workers_are_refused():
    with pytest.raises(ConfigError, match='train_dataloader.persistent_workers'):
        SampleSeedHook().before_train(fake_runner(Two(), persistent=True))


@pytest.mark.parametrize('workers', [0, 1])
def test_the_dataset_that_workers_read_knows_the_epoch(make_runner, workers):
    """ToyHookData adds 10 × epoch to its inputs, which are below 10 otherwise."""
    runner = make_runner(epochs=2, save_best=None, loader=dict(num_workers=workers))
    lowest = []
    see = lambda _, args, kwargs: lowest.append(min(float(item.min()) for item in kwargs['inputs']))  # noqa: E731
    runner.model.register_forward_pre_hook(see, with_kwargs=True)
    runner.train()
    train = lowest[:3] + lowest[-6:-3]
    assert all(value < 10 for value in train[:3]) and all(value >= 10 for value in train[3:]), lowest
