"""What a step tells a term."""

from types import SimpleNamespace

from mmpd.distill.step import Step

import torch


def step(height: int, width: int, shapes: list[tuple[int, int]]) -> Step:
    samples = [SimpleNamespace(img_shape=shape) for shape in shapes]
    images_lr = torch.zeros(len(shapes), 3, height, width)
    return Step(torch.zeros(len(shapes), 3, 2 * height, 2 * width), images_lr, samples, None, None, None)


def test_valid_cells_have_their_centre_on_the_image():
    valid = step(32, 64, [(32, 64), (20, 30)]).valid((4, 8))
    assert valid.shape == (2, 1, 4, 8) and valid[0].all()
    # cells of 8 pixels: centres 4, 12, 20, 28 against 20 rows, 30 columns
    assert valid[1, 0].any(dim=1).tolist() == [True, True, False, False]
    assert valid[1, 0].any(dim=0).tolist() == [True] * 4 + [False] * 4


def test_cells_that_reach_beyond_the_batch_are_where_they_are():
    """70 pixels of a batch have three cells of 32, at 16, 48 and 67; spread evenly they were at 12, 35 and 58."""
    valid = step(70, 70, [(70, 70), (60, 40)]).valid((3, 3), 32)
    assert valid[0].all()
    assert valid[1, 0].any(dim=1).tolist() == [True, True, False]
    assert valid[1, 0].any(dim=0).tolist() == [True, False, False]


def test_valid_pixels_of_the_hr_image_follow_the_lr_shape():
    valid = step(32, 32, [(20, 31)]).valid((64, 64))
    assert int(valid[0, 0].any(dim=1).sum()) == 40 and int(valid[0, 0].any(dim=0).sum()) == 62
