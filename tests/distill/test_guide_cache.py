"""The guide's outputs are kept per distinct image, and are what the guide says."""

from mmpd.distill.guide_cache import GuideCache
from mmpd.distill.view import view_of
from tests.toys import build_model, toy_retinanet, unfrozen

import pytest
import torch


@pytest.fixture
def view():
    torch.manual_seed(0)
    return view_of(build_model(unfrozen(toy_retinanet())).eval())


def leaves(taps):
    return [*taps['features'], *taps['head'][0], *taps['head'][1]]


@torch.no_grad()
def test_same_outputs_as_the_guide_and_once_per_image(view):
    images = torch.randn(3, 3, 64, 64)
    cache = GuideCache(mebibytes=64)
    first = cache.run(view, images, True)
    for kept, direct in zip(leaves(first), leaves(view.run(images, True)), strict=True):
        assert torch.allclose(kept, direct, atol=1e-5)
    again = cache.run(view, images.flip(0), True)  # another order, the same images
    assert (cache.hits, cache.misses) == (3, 3)
    for kept, before in zip(leaves(again), leaves(first), strict=True):
        assert torch.equal(kept, before.flip(0))


@torch.no_grad()
def test_any_change_of_the_pixels_is_another_image(view):
    images = torch.randn(1, 3, 64, 64)
    cache = GuideCache(mebibytes=64)
    cache.run(view, images, True)
    images[0, 0, 0, 0] += 1e-3
    cache.run(view, images, True)
    cache.run(view, images, False)  # features alone must not be answered with what else was asked for
    assert (cache.hits, cache.misses) == (0, 3)


@torch.no_grad()
def test_the_limit_holds(view):
    cache = GuideCache(mebibytes=0.1)
    cache.run(view, torch.randn(8, 3, 64, 64), True)
    assert 0 < cache.size <= 0.1 * 2**20


@torch.no_grad()
def test_half_keeps_twice_as_much_and_says_what_it_rounds(view):
    images = torch.randn(3, 3, 64, 64)
    full, half = GuideCache(mebibytes=64), GuideCache(mebibytes=64, half=True)
    exact, first = full.run(view, images, True), half.run(view, images, True)
    assert half.size == full.size // 2
    worst = 0.0
    for rounded, value in zip(leaves(first), leaves(exact), strict=True):
        assert rounded.dtype == torch.float32 and torch.equal(rounded, value.half().float())
        worst = max(worst, float((rounded - value).abs().max() / value.abs().max()))
    assert 0 < worst <= 2**-11 and worst / 3 < half.error <= 2**-11
    for again, before in zip(leaves(half.run(view, images, True)), leaves(first), strict=True):
        assert torch.equal(again, before)  # found or not, the same
    assert '50.0% of 6 images found, 3 images kept' in half.summary() and half.hits == half.misses == 0


@torch.no_grad()
def test_what_float16_cannot_hold_is_kept_whole():
    cache = GuideCache(mebibytes=1, half=True)
    huge = torch.tensor([1e6, 1.0])
    assert cache._rounded(huge) is huge and cache._rounded(huge / 1e3).dtype == torch.float16
