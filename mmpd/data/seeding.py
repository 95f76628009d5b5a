"""Randomness per sample: an augmentation is a function of (seed, epoch, index) and of nothing else.

Process-wide generators make a sample depend on how many workers there are and on what was loaded before, so a resumed
run would differ from an uninterrupted one.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from mmdet.registry import DATASETS

_active = False


@contextmanager
def sample_rng(seed: int, epoch: int, index: int) -> Iterator[None]:
    """Within it `random`, `numpy.random` and torch's CPU generator start from (seed, epoch, index).

    Their states come back afterwards: without workers a sample is loaded in the training process, whose generators
    the network uses too. Inside another `sample_rng` it does nothing: the outermost data set decides.
    """
    global _active
    if _active:
        yield
        return
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    words = np.random.SeedSequence([seed, epoch, index]).generate_state(8)
    random.seed(words[:4].tobytes())
    np.random.seed(words[4:])
    torch.default_generator.manual_seed(int(words[0]) << 32 | int(words[4]))
    _active = True
    try:
        yield
    finally:
        _active = False
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.set_rng_state(states[2])


class SampleSeedMixin:
    """Put before an mmengine BaseDataset: training samples depend on (`seed`, `epoch`, index) only.

    It seeds in `__getitem__`, not in `prepare_data`: mmengine replaces a sample whose pipeline returned None by a
    random other one, and with a new seed for that one two such samples would lead to each other for ever.
    A hook sets `epoch` before the epoch's workers start. Test pipelines have no randomness to seed.
    """

    seed: int = 0
    epoch: int = 0
    test_mode: bool

    def __getitem__(self, index: int) -> dict:
        if self.test_mode:
            return super().__getitem__(index)  # type: ignore[misc]
        with sample_rng(self.seed, self.epoch, index):
            return super().__getitem__(index)  # type: ignore[misc]


@DATASETS.register_module()
class SeededDataset:
    """Gives any data set the per-sample randomness: `dict(type='SeededDataset', dataset=dict(...))`.

    A chain puts it around every training set that is no PDVOCDataset, wrapped ones included: as the outermost it sees
    the index of the repetition, so the repetitions of a RepeatDataset are augmented differently.
    """

    def __init__(self, dataset: dict | Any, seed: int = 0) -> None:
        self.dataset = DATASETS.build(dataset) if isinstance(dataset, dict) else dataset
        self.seed = seed
        self.epoch = 0

    def __getattr__(self, name: str) -> Any:
        if name == 'dataset' or name.startswith('__'):  # unpickling asks before `dataset` is there
            raise AttributeError(name)
        return getattr(self.dataset, name)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> dict:
        with sample_rng(self.seed, self.epoch, index):
            return self.dataset[index]
