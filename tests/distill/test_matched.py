"""The same places of both networks, and LR images as the guide wants them."""

from types import SimpleNamespace

from mmpd.align.plan import Level
from mmpd.distill.enlarge import enlarged
from mmpd.distill.matched import MapPair, cell_vectors, inside, pooled_maps
from tests.toys import build_model, toy_retinanet

import pytest
import torch


def test_cells_in_boxes_are_those_of_a_loop():
    boxes = torch.tensor([[3.0, 5.0, 21.0, 13.0], [30.0, 2.0, 31.0, 3.0], [-9.0, 20.0, 6.0, 60.0]])
    got = inside(boxes, (6, 8), 4)  # cells of 4 pixels
    for row in range(6):
        for column in range(8):
            y, x = 4 * row + 2, 4 * column + 2
            hit = any(x1 <= x < x2 and y1 <= y < y2 for x1, y1, x2, y2 in boxes.tolist())
            assert bool(got[row, column]) == (hit or (row, column) == (0, 7)), (row, column)  # the tiny box's own cell
    assert not inside(boxes[:0], (6, 8), 4).any()


def pair(level: int, grid: tuple[int, int], images: int = 2) -> MapPair:
    """Every vector says its place: (image, row, column), times 10 in the guide."""
    places = torch.stack(torch.meshgrid(*(torch.arange(float(n)) for n in (images, *grid)), indexing='ij'), dim=1)
    return MapPair(level, places, 10 * places, torch.ones(images, 1, *grid, dtype=torch.bool))


def test_cells_lie_where_the_stride_says_also_if_they_reach_beyond_the_image():
    """70 pixels have three cells of 32; spread evenly, the last one would have its centre at 58."""
    assert inside(torch.tensor([[50.0, 0, 66, 70]]), (3, 3), 32)[0].tolist() == [False, True, False]


def test_every_object_has_its_cells_on_the_level_that_fits_it_and_rows_match():
    pairs = [pair(0, (8, 8)), pair(2, (2, 2))]
    levels = [Level(4.0, ((8.0, 8.0),)), Level(8.0), Level(16.0, ((32.0, 32.0),))]
    boxes = [torch.zeros(0, 4), torch.tensor([[0.0, 0.0, 8.0, 8.0], [0.0, 0.0, 30.0, 24.0]])]
    small, large = cell_vectors(pairs, levels, boxes, 99)
    assert (small.level, large.level) == (0, 2)
    assert small.student.tolist() == [[1, 0, 0], [1, 0, 1], [1, 1, 0], [1, 1, 1]]
    assert large.student.tolist() == [[1, 0, 0], [1, 0, 1]]
    assert torch.equal(small.guide, 10 * small.student)


def test_padding_is_never_picked_and_thinning_is_even():
    maps = pair(0, (1, 10), images=1)
    maps.valid[..., 8:] = False
    assert maps.vectors(maps.valid, 4).student[:, 2].tolist() == [0, 2, 4, 6]
    assert len(maps.vectors(maps.valid, 8).student) == 8


def test_classifiers_are_compared_by_the_mean_of_their_last_maps():
    lr, hr = torch.randn(3, 5, 2, 2), torch.randn(3, 7, 4, 4)
    pooled = pooled_maps((torch.zeros(1), lr), (hr,))
    vectors = pooled.vectors(pooled.valid, 9)
    torch.testing.assert_close(vectors.student, lr.mean((2, 3)))
    torch.testing.assert_close(vectors.guide, hr.mean((2, 3)))


def test_enlarged_images_are_normalised_for_the_guide():
    """The same raw pixels through either network's own preprocessor; padding stays zero."""
    config = toy_retinanet()
    other = {**config['data_preprocessor'], 'mean': [1.0, 2.0, 3.0], 'std': [4.0, 5.0, 6.0], 'bgr_to_rgb': False}
    student, guide = build_model(config), build_model({**config, 'data_preprocessor': other})
    raw = torch.randint(0, 256, (3, 32, 32), dtype=torch.uint8)
    ours, theirs = (net.data_preprocessor(dict(inputs=[raw]), False)['inputs'] for net in (student, guide))
    valid = torch.ones(1, 1, 32, 32, dtype=torch.bool)
    torch.testing.assert_close(enlarged(ours, (32, 32), valid, student, guide), theirs, rtol=0, atol=1e-4)
    assert enlarged(ours, (32, 32), valid, student, student) is ours
    valid[..., 16:] = False
    assert not enlarged(ours, (32, 32), valid, student, guide)[..., 16:].any()
    assert enlarged(ours, (64, 96), valid, student, guide).shape == (1, 3, 64, 96)


@pytest.mark.parametrize('enable', [True, False])
def test_mmpretrains_preprocessor_is_read_as_well(enable):
    cls = SimpleNamespace(
        data_preprocessor=SimpleNamespace(
            _enable_normalize=enable, mean=torch.full((3, 1, 1), 2.0), std=torch.full((3, 1, 1), 4.0), to_rgb=True
        )
    )
    raw = SimpleNamespace(data_preprocessor=SimpleNamespace(_enable_normalize=False))
    image, valid = torch.rand(1, 3, 2, 2), torch.ones(1, 1, 2, 2, dtype=torch.bool)
    expected = image.flip(1) * (4 if enable else 1) + (2 if enable else 0)
    torch.testing.assert_close(enlarged(image, (2, 2), valid, cls, raw), expected)
