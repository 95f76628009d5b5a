"""Upcycled inputs and invertible augmentations."""

from itertools import chain, permutations

from mmpd.errors import ConfigError
from mmpd.sr.upcycling import AUGMENTATIONS, augment, draw_augmentations, random_tiles, undo, zoom_in_tiles, zoom_out

import numpy as np
import pytest
import torch
from PIL import Image

COMPOSITIONS = list(chain.from_iterable(permutations(AUGMENTATIONS, n) for n in range(len(AUGMENTATIONS) + 1)))


@pytest.mark.parametrize('names', COMPOSITIONS, ids='-'.join)
@pytest.mark.parametrize('shape', [(2, 3, 4, 4), (1, 3, 5, 3)])
def test_every_composition_is_undone_exactly(names: tuple[str, ...], shape: tuple[int, ...]):
    """Values are multiples of 1/256, which 1 - x keeps exact."""
    images = torch.randint(0, 257, shape, generator=torch.Generator().manual_seed(0)) / 256
    assert torch.equal(undo(augment(images, names), names), images)


@pytest.mark.parametrize('names', COMPOSITIONS, ids='-'.join)
def test_an_augmentation_commutes_with_upscaling_so_it_can_be_undone_at_hr(names: tuple[str, ...]):
    images = torch.rand(1, 3, 4, 4, generator=torch.Generator().manual_seed(0))

    def enlarge(x: torch.Tensor) -> torch.Tensor:
        return x.repeat_interleave(2, -1).repeat_interleave(2, -2)

    torch.testing.assert_close(undo(enlarge(augment(images, names)), names), enlarge(images))


def test_the_same_order_would_not_undo_transpose_and_one_flip():
    images = torch.arange(9.0).view(1, 1, 3, 3)
    names = ('hflip', 'transpose')
    assert not torch.equal(augment(augment(images, names), names), images)
    assert torch.equal(undo(augment(images, names), names), images)


def test_each_augmentation_is_drawn_with_its_probability():
    torch.manual_seed(0)
    drawn = [draw_augmentations(0.3) for _ in range(2000)]
    for name in AUGMENTATIONS:
        assert 0.26 < sum(name in names for names in drawn) / 2000 < 0.34
    assert draw_augmentations(0) == () and draw_augmentations(1) == tuple(AUGMENTATIONS)


@pytest.mark.parametrize('scale', [2, 3, 4])
def test_tiles_are_what_a_loop_cuts(scale: int):
    images = torch.rand(2, 3, 4 * scale, 5 * scale)
    tiles = zoom_in_tiles(images, scale)
    assert tiles.shape == (2, scale**2, 3, 4, 5)
    for row in range(scale):
        for column in range(scale):
            expected = images[:, :, row * 4 : row * 4 + 4, column * 5 : column * 5 + 5]
            assert torch.equal(tiles[:, row * scale + column], expected)


def test_random_tiles_are_different_tiles_of_their_own_image():
    images = torch.rand(3, 3, 8, 8)
    torch.manual_seed(0)
    picked = random_tiles(images, 2, 4).view(3, 4, 3, 4, 4)
    for image, tiles in zip(zoom_in_tiles(images, 2), picked, strict=True):
        order = [next(i for i in range(4) if torch.equal(tile, image[i])) for tile in tiles]
        assert sorted(order) == [0, 1, 2, 3]
    with pytest.raises(ConfigError, match='1 to 4 tiles'):
        random_tiles(images, 2, 5)


@pytest.mark.parametrize('scale', [2, 3, 4])
def test_zoom_out_makes_lr_images_as_pillow_does(scale: int):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (24, 36, 3), dtype=np.uint8)
    expected = np.asarray(Image.fromarray(image).resize((36 // scale, 24 // scale), Image.Resampling.BICUBIC))
    ours = zoom_out(torch.from_numpy(image).permute(2, 0, 1)[None] / 255, scale)[0] * 255
    # Pillow rounds to 8 bits between its two passes
    assert (ours - torch.from_numpy(expected.copy()).permute(2, 0, 1)).abs().max() <= 1.001
    assert torch.equal(ours.round(), ours.round().clamp(0, 255)) and (ours - ours.round()).abs().max() < 1e-3


def test_patches_that_the_scale_does_not_divide_are_refused():
    with pytest.raises(ConfigError, match='data.hr_scale'):
        zoom_in_tiles(torch.rand(1, 3, 10, 9), 2)
    with pytest.raises(ConfigError, match='data.hr_scale'):
        zoom_out(torch.rand(1, 3, 10, 9), 3)
