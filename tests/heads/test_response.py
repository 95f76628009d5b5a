"""Levels as one response: views where they were cut from one, copies elsewhere, and the same numbers either way."""

from mmpd.align.placing import _heard
from mmpd.heads.response import LazyResponse, LevelResponse, Rows, joined

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


@pytest.mark.parametrize('priors', [(2, 2, 2), (1, 3, 2)])
@pytest.mark.parametrize('order', [torch.contiguous_format, torch.channels_last])
def test_rows_of_maps_are_read_as_if_all_were_copied(priors, order):
    grids, k = [(4, 5), (2, 3), (1, 2)], 3
    maps = [torch.randn(2, a * k, *grid).to(memory_format=order) for a, grid in zip(priors, grids, strict=True)]
    # the definition: location (level, h, w, A) has the k channels of its prior
    want = torch.stack([
        torch.stack([
            m[image, a * k : (a + 1) * k, y, x]
            for m, count in zip(maps, priors, strict=True)
            for y in range(m.shape[2]) for x in range(m.shape[3]) for a in range(count)
        ])
        for image in range(2)
    ])  # fmt: skip
    rows = Rows(maps, [a * h * w for a, (h, w) in zip(priors, grids, strict=True)])
    assert torch.equal(rows.all, want) and rows.shape == want.shape
    assert torch.equal(rows.best, want.amax(2))
    n = want.shape[1]
    image, location = torch.tensor([1, 0, 0, 1, 1, 0]), torch.tensor([n - 1, 0, n - 2, 5, n // 2, 5])
    assert torch.equal(rows.at(image, location), want[image, location])
    assert rows.at(image[:0], location[:0]).shape == (0, k)
    response = LazyResponse(rows, None, None, (1, n), lambda *at: want[at])
    (first, last) = response.split([n - 4, 4], [(1, n - 4), (1, 4)])
    assert torch.equal(last.logits_at(torch.tensor([1]), torch.tensor([2])), want[1:, n - 2])
    assert torch.equal(first.logits, want[:, : n - 4]) and torch.equal(last.best, want[:, n - 4 :].amax(2))


def test_placing_copies_no_map_of_the_guides_scores(monkeypatch):
    """A guide has many times the locations and classes that its student hears."""
    maps = [torch.randn(1, 6, 4, 4)]
    whole = LazyResponse(Rows(maps, [32]), None, None, (1, 32), lambda image, at: torch.zeros(len(at), 4))
    monkeypatch.setattr(Rows, 'all', property(lambda self: pytest.fail('a copy of all scores was made')))
    heard = _heard(whole, torch.tensor([[3, 30, 7]]), torch.zeros(1, 3, dtype=torch.bool))
    plain = maps[0].permute(0, 2, 3, 1).reshape(1, 32, 3)
    assert torch.equal(heard.logits, plain[:, [3, 30, 7]])
