"""A training sample is a function of (seed, epoch, index)."""

import pickle
import random

from mmpd.data.seeding import SampleSeedMixin, SeededDataset, sample_rng

import numpy as np
import pytest
import torch
from mmengine.dataset import BaseDataset, RepeatDataset
from torch.utils.data import DataLoader


class Numbers(BaseDataset):
    """Ten samples; the pipeline draws from all three generators, and gives None for what `fails` names."""

    fails: tuple[int, ...] = ()

    def __init__(self, **kwargs):
        super().__init__(serialize_data=False, **kwargs)  # serialising collects garbage, which takes a second here

    def load_data_list(self):
        return [{'index': i} for i in range(10)]

    def prepare_data(self, idx):
        drawn = (idx, random.random(), np.random.rand(), torch.rand(1).item())
        return None if idx in self.fails else drawn


class SeededNumbers(SampleSeedMixin, Numbers):
    pass


@pytest.fixture(params=[SeededNumbers, lambda: SeededDataset(Numbers())], ids=['mixin', 'wrapper'])
def make(request):
    return request.param


def test_neither_order_nor_earlier_draws_matter(make):
    first, second = make(), make()
    forward = [first[i] for i in range(10)]
    random.random(), np.random.rand(5), torch.rand(3)
    assert [second[i] for i in reversed(range(10))] == forward[::-1]


def test_the_number_of_workers_does_not_matter(make):
    def load(workers):
        return list(DataLoader(make(), batch_size=2, num_workers=workers, collate_fn=list))

    assert load(2) == load(0)


def test_epoch_seed_and_index_each_change_the_sample(make):
    dataset = make()
    base = dataset[3][1:]
    dataset.epoch = 1
    assert all(a != b for a, b in zip(dataset[3][1:], base, strict=True))
    dataset.epoch, dataset.seed = 0, 1
    assert all(a != b for a, b in zip(dataset[3][1:], base, strict=True))
    dataset.seed = 0
    assert dataset[3][1:] == base and dataset[4][1:] != base


def test_the_generators_of_the_process_are_untouched(make):
    def draw():
        return random.random(), np.random.rand(), torch.rand(1).item()

    random.seed(7), np.random.seed(7), torch.manual_seed(7)
    expected = draw()
    random.seed(7), np.random.seed(7), torch.manual_seed(7)
    make()[0]
    assert draw() == expected


def test_the_replacement_of_a_failed_sample_is_deterministic_and_found(make):
    def load():
        dataset = make()
        getattr(dataset, 'dataset', dataset).fails = tuple(range(9))
        return dataset[0]

    assert load() == load() and load()[0] == 9


def test_repetitions_differ_in_the_wrapper_even_around_a_seeded_dataset():
    dataset = SeededDataset(RepeatDataset(SeededNumbers(), times=2))
    assert len(dataset) == 20
    assert dataset[0][0] == dataset[10][0] and dataset[0][1:] != dataset[10][1:]


def test_wrapper_passes_attributes_on_and_pickles():
    dataset = pickle.loads(pickle.dumps(SeededDataset(Numbers(metainfo={'classes': ('a',)}), seed=3)))
    assert dataset.metainfo == {'classes': ('a',)} and dataset.seed == 3
    assert dataset.get_data_info(2)['index'] == 2
    with pytest.raises(AttributeError):
        dataset.no_such_attribute  # noqa: B018


def test_test_mode_is_not_seeded():
    dataset = SeededNumbers(test_mode=True)
    assert dataset[0] != dataset[0]


def test_generators_come_back_after_an_error():
    state = random.getstate()
    with pytest.raises(RuntimeError), sample_rng(0, 0, 0):
        raise RuntimeError
    assert random.getstate() == state
    with sample_rng(0, 0, 0):  # and the next one seeds again
        assert random.getstate() != state
