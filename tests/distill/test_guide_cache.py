"""The guide's outputs are kept per distinct image, and are what the guide says."""

import copy

from mmpd.align import placing
from mmpd.distill.guide_cache import GuideCache
from mmpd.distill.view import view_of
from tests.toys import build_distiller, build_model, first_losses, toy_pair_batch, toy_retinanet, unfrozen

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


def test_the_placing_of_an_image_is_worked_out_once_and_stays_the_same(tmp_path, monkeypatch):
    """Ratio 3/2 has no window, so objects are placed; every image that comes back finds its placing."""
    torch.manual_seed(0)
    terms = dict(response=dict(type='ResponseTerm'))
    plain = build_distiller(tmp_path, ratio='3/2', terms=terms)
    cached = copy.deepcopy(plain)
    cached.guide_cache = GuideCache(mebibytes=64)
    calls = []
    monkeypatch.setattr(placing, 'guide_objects', lambda *a, f=placing.guide_objects: calls.append(1) or f(*a))
    batch = toy_pair_batch('3/2')
    expected = first_losses(plain, batch)
    assert len(calls) == 1
    for _ in range(2):
        torch.testing.assert_close(first_losses(cached, batch), expected, rtol=1e-5, atol=1e-6)
    assert len(calls) == 2 and cached.guide_cache._notes
    size = cached.guide_cache.size
    cached.guide_cache = GuideCache(mebibytes=1e-3)
    torch.testing.assert_close(first_losses(cached, batch), expected, rtol=1e-5, atol=1e-6)
    assert size > 0 and not cached.guide_cache._notes and len(calls) == 3
