"""Levels as one response: views where they were cut from one, copies elsewhere, and the same numbers either way."""

from mmpd.heads.response import LazyResponse, LevelResponse, joined

import pytest
import torch


def whole_of(n: int = 12) -> LazyResponse:
    generator = torch.Generator().manual_seed(0)
    boxes = torch.rand(2, n, 4, generator=generator)
    logits, quality = torch.randn(2, n, 3, generator=generator), torch.randn(2, n, generator=generator)
    return LazyResponse(logits, quality, None, (1, n), lambda image, location: boxes[image, location])


@pytest.mark.parametrize('levels', [(0, 1, 2), (1, 2), (0, 2), (2, 1)])
def test_joined_levels_are_their_locations_one_after_the_other(levels):
    cut = whole_of().split([6, 4, 2], [(2, 3), (2, 2), (1, 2)])
    chosen = [cut[level] for level in levels]
    plain = [LevelResponse(level.logits, level.boxes, level.quality, None, level.grid) for level in chosen]
    one, other = joined(chosen), joined(plain)
    for name in ('logits', 'boxes', 'quality', 'best'):
        assert torch.equal(getattr(one, name), getattr(other, name)), name
    assert torch.equal(one.confidence(), torch.cat([level.confidence() for level in plain], 1))
    at = torch.tensor([0, 1, 1]), torch.tensor([0, 5, 2])
    assert torch.equal(one.boxes_at(*at), other.boxes[at])


@pytest.mark.parametrize(('levels', 'shared'), [((0, 1, 2), True), ((1, 2), True), ((0, 2), False)])
def test_levels_that_follow_one_another_are_not_copied(levels, shared):
    whole = whole_of()
    cut = whole.split([6, 4, 2], [(2, 3), (2, 2), (1, 2)])
    one = joined([cut[level] for level in levels])
    assert (one.logits.untyped_storage().data_ptr() == whole.logits.untyped_storage().data_ptr()) == shared
