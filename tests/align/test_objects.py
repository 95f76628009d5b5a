"""The objects of a guide, by hand."""

from mmpd.align.objects import MAX_CANDIDATES, guide_objects, objects_of
from mmpd.heads.response import LevelResponse

import torch


def guide_of(grid, stride, spoken: dict[int, tuple[float, list[float]]]) -> LevelResponse:
    """One level with one prior a cell that says nothing but what `spoken` names: location → (logit, box)."""
    n = grid[0] * grid[1]
    logits, boxes = torch.full((1, n, 2), -8.0), torch.zeros(1, n, 4)
    for location, (logit, box) in spoken.items():
        logits[0, location, 1], boxes[0, location] = logit, torch.tensor(box)
    return LevelResponse(logits, boxes, None, None, grid)


def test_speakers_of_an_object_are_counted_and_the_surest_comes_first():
    one, close, other = [10.0, 10, 30, 30], [11.0, 11, 31, 31], [80.0, 80, 99, 99]
    guide = guide_of((4, 4), 8, {1: (1.0, one), 2: (3.0, close), 5: (2.0, one), 9: (0.5, other), 3: (-3.0, one)})
    (objects,) = guide_objects(guide)
    assert objects.boxes.tolist() == [other, close]  # the least confident first
    assert objects.counts.tolist() == [1, 3] and objects.speakers.tolist() == [9, 2, 5, 1]


def test_an_image_without_objects_has_none():
    guide = guide_of((4, 4), 8, {})
    (objects,) = guide_objects(guide)
    assert len(objects.boxes) == len(objects.speakers) == len(objects.counts) == 0


def test_a_box_without_an_area_is_no_object():
    """FCOS clamps distances at 0, RTMDet's may be negative; no prior overlaps with such a box, so all are its best."""
    good, flat, inverted = [10.0, 10, 30, 30], [50.0, 40, 50, 60], [90.0, 90, 80, 99]
    (objects,) = guide_objects(guide_of((4, 4), 8, {1: (1.0, good), 5: (3.0, flat), 9: (2.0, inverted)}))
    assert objects.boxes.tolist() == [good] and objects.speakers.tolist() == [1]


def test_of_too_many_candidates_the_surest_count():
    n = MAX_CANDIDATES + 10
    spoken = {at: (0.1 + at / n, [10.0 * at, 0, 10.0 * at + 9, 9]) for at in range(n)}
    (objects,) = guide_objects(guide_of((1, n), 8, spoken))
    assert objects.speakers.tolist() == list(range(n - 100, n))


def test_an_image_does_not_depend_on_the_others_of_its_batch():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(3, 60, 2, generator=generator)
    corners = 40 * torch.rand(3, 60, 2, generator=generator)
    boxes = torch.cat([corners, corners + 10 + 20 * torch.rand(3, 60, 2, generator=generator)], 2)
    together = guide_objects(LevelResponse(logits, boxes, None, None, (6, 10)))
    for image, objects in enumerate(together):
        own = slice(image, image + 1)
        (alone,) = guide_objects(LevelResponse(logits[own], boxes[own], None, None, (6, 10)))
        assert len(alone.boxes) > 1 and torch.equal(alone.boxes, objects.boxes)
        assert torch.equal(alone.counts, objects.counts) and torch.equal(alone.speakers, objects.speakers)


def test_a_box_left_of_the_image_takes_no_object_of_another_class_away():
    """Moved by the largest coordinate + 1, as in torchvision's batched_nms, the second box would be the first one."""
    boxes = torch.tensor([[250.0, 180.0, 300.0, 240.0], [-51.0, -121.0, -1.0, -61.0]])
    found = objects_of(torch.tensor([4, 7]), boxes, torch.tensor([0.9, 0.8]), torch.tensor([0, 1]))
    assert sorted(found.speakers.tolist()) == [4, 7] and found.counts.tolist() == [1, 1]
