"""Batches of images of like shape: every image once, as many batches as the length says, the same after a cut."""

from mmpd.chain.chain import read_chain
from mmpd.chain.stage_config import stage_config
from mmpd.data.batching import ShapeBatchSampler
from mmpd.errors import ConfigError
from tests.toys import toy_chain

import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import DefaultSampler
from mmengine.registry import DefaultScope
from mmengine.runner import Runner


class Sizes(list):
    """(width, height) of each image."""

    def get_data_info(self, index: int) -> dict:
        return dict(width=self[index][0], height=self[index][1])


def sampler_of(wide: int, upright: int, batch: int, drop_last: bool) -> ShapeBatchSampler:
    sizes = Sizes([(4, 3)] * wide + [(3, 4)] * upright)
    return ShapeBatchSampler(DefaultSampler(sizes, shuffle=True, seed=0), batch, drop_last)


@pytest.mark.parametrize('drop_last', [True, False])
@pytest.mark.parametrize('batch', [1, 3, 4])
def test_as_many_batches_as_the_length_says_and_every_image_once(batch, drop_last):
    """An epoch's iterations are counted by the length: mmdet's own gives one fewer for 3 wide and 1 upright by 4."""
    for wide in range(9):
        for upright in range(max(0, batch - wide), 9):
            sampler = sampler_of(wide, upright, batch, drop_last)
            batches = list(sampler)
            assert len(batches) == len(sampler), (wide, upright)
            seen = [index for one in batches for index in one]
            assert len(seen) == len(set(seen)) == (wide + upright) // batch * batch if drop_last else wide + upright


def test_only_what_is_left_at_the_end_is_mixed():
    shapes = [{index < 13 for index in batch} for batch in sampler_of(wide=13, upright=7, batch=4, drop_last=True)]
    assert [len(shape) for shape in shapes] == [1, 1, 1, 1, 2]  # 12 wide, 4 upright, then 1 and 3


def test_an_epoch_does_not_depend_on_one_that_was_cut():
    cut, fresh = (sampler_of(13, 7, 4, True) for _ in range(2))
    next(iter(cut))
    for sampler in (cut, fresh):
        sampler.sampler.set_epoch(1)
    assert list(cut) == list(fresh)


def loader_of(tmp_path, **changes):
    config = stage_config(read_chain(toy_chain(tmp_path, **changes)).stages['teacher'], tmp_path / 'work', {})
    with DefaultScope.overwrite_default_scope('mmdet'):
        return Runner.build_dataloader(Config(config.to_dict()).train_dataloader, seed=0)


def test_a_chain_groups_its_batches_and_samples_stay_as_they_are(tmp_path):
    plain, grouped = loader_of(tmp_path), loader_of(tmp_path, **{'data.batch_by_shape': True})
    assert isinstance(grouped.batch_sampler, ShapeBatchSampler) and grouped.batch_sampler.drop_last
    assert len(grouped) == len(plain) == len(list(grouped))
    pixels = [
        {sample.img_path: image for batch in loader for sample, image in zip(*columns(batch), strict=True)}
        for loader in (plain, grouped)
    ]
    for path in pixels[0].keys() & pixels[1].keys():
        assert torch.equal(pixels[0][path], pixels[1][path])


def columns(batch: dict) -> tuple:
    return batch['data_samples'], batch['inputs']


def test_what_is_no_switch_is_refused(tmp_path):
    with pytest.raises(ConfigError, match='batch_by_shape'):
        read_chain(toy_chain(tmp_path, **{'data.batch_by_shape': 'yes'}))
