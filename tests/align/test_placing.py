"""Where a student hears of the guide's objects: a loop over the definition, and small objects by hand."""

from fractions import Fraction

from mmpd.align.placing import SPREAD, SPREAD_IOU, placed_responses, prior_boxes, spread
from mmpd.align.plan import Level, plan_alignment
from mmpd.heads.assign import level_grids
from mmpd.heads.base import LevelResponse, head_levels, level_priors
from tests.align.test_oracle import COMMON, GN, IOU, pair, squares, strides, trained
from tests.toys import build_model

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.ops import box_iou

CPU = torch.device('cpu')


def naive_spread(placed, priors, boxes, counts, inside):
    """The definition: {location: (object, rank)}, each object's nearest free locations after its own positives."""
    iou = box_iou(priors, boxes)
    positives = [int((placed == which + 1).sum()) for which in range(len(boxes))]
    short = [min(int(count), SPREAD) - own for count, own in zip(counts, positives, strict=True)]
    wanted: dict[int, list] = {which: [] for which, n in enumerate(short) if n > 0}
    for location in (placed <= 0).nonzero().flatten().tolist():
        x, y = ((priors[location, :2] + priors[location, 2:]) / 2).tolist()
        near = {}
        for which in wanted:
            left, top, right, bottom = boxes[which].tolist()
            if not inside or (left < x < right and top < y < bottom):
                near[which] = float(iou[location, which])
        if near and max(near.values()) > SPREAD_IOU:
            nearest = max(near, key=lambda which: (near[which], -which))
            wanted[nearest].append((-near[nearest], location))
    return {
        location: (which, positives[which] + rank)
        for which, places in wanted.items()
        for rank, (_, location) in enumerate(sorted(places)[: short[which]])
    }


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.lists(st.integers(0, 4), min_size=1, max_size=3).filter(any), st.booleans())
def test_spreading_is_what_a_loop_over_its_definition_says(seed, objects, inside):
    generator = torch.Generator().manual_seed(seed)
    levels = (Level(4.0, ((6.0, 6.0), (9.0, 9.0))), Level(8.0, ((14.0, 14.0), (20.0, 20.0))))
    priors = prior_boxes(levels, ((12, 12), (6, 6)), CPU)
    images = [some_image(n, len(priors), generator) for n in objects]
    placed, boxes, counts = zip(*images, strict=True)
    place, which, rank = spread(torch.stack(placed), priors, boxes, torch.cat(counts), inside)
    made = dict(zip(place.tolist(), zip(which.tolist(), rank.tolist(), strict=True), strict=True))
    expected = {}
    for image, own in enumerate(images):
        found = naive_spread(own[0], priors, *own[1:], inside)
        first = sum(objects[:image])
        expected |= {image * len(priors) + at: (first + which, rank) for at, (which, rank) in found.items()}
    assert made == expected and len(made) == len(place)


def some_image(n: int, locations: int, generator: torch.Generator):
    """placed, boxes and counts of n objects, five of whose positives are given."""
    corners = torch.rand(n, 2, generator=generator) * 40
    boxes = torch.cat([corners, corners + 3 + torch.rand(n, 2, generator=generator) * 20], 1)
    placed = torch.randint(-1, 1, (locations,), generator=generator)
    if n:
        some = torch.randperm(locations, generator=generator)[:5]
        placed[some] = torch.randint(1, n + 1, (5,), generator=generator)
    return placed, boxes, torch.randint(1, 15, (n,), generator=generator)


@pytest.mark.parametrize('family', ['retina', 'fcos', 'gfl'])
def test_priors_are_those_of_the_head(family):
    alignment = pair(family, '4')
    levels = alignment.plan.student
    grids = level_grids([level.stride for level in levels], (64, 48))
    made = prior_boxes(tuple(levels), tuple(grids), CPU)
    own = torch.cat(
        [
            level_priors(alignment.student.head.prior_generator, level, grid, torch.device('cpu'))
            for level, grid in enumerate(grids)
        ]
    )
    centres = (made[:, :2] + made[:, 2:]) / 2
    assert torch.allclose(
        made if family != 'fcos' else centres, own[:, : made.shape[1] if family != 'fcos' else 2], atol=1e-4
    )


@pytest.mark.parametrize('family', ['retina', 'gfl'])
def test_what_many_locations_say_of_an_object_is_heard_at_many(family):
    """A small object has one or two positives in LR, and the guide speaks of it at many."""
    alignment = pair(family, '4')
    box = torch.tensor([100.0, 100, 148, 148])
    levels = alignment.plan.guide
    grids = level_grids([level.stride for level in levels], (240, 320))
    speaking = box_iou(prior_boxes(tuple(levels), tuple(grids), CPU), box[None])[:, 0].topk(8).indices
    guide, start = [], 0
    for level, grid in zip(levels, grids, strict=True):
        n = grid[0] * grid[1] * len(level.anchors)
        logits = torch.full((1, n, 2), -8.0)
        logits[0, speaking[(speaking >= start) & (speaking < start + n)] - start, 1] = 2.0
        guide.append(LevelResponse(logits, box.expand(1, n, 4).clone(), None, None, grid))
        start += n
    student = alignment.plan.student
    lr_grids = level_grids([level.stride for level in student], (60, 80))
    heard = placed_responses(alignment.plan, alignment.student.head, guide, lr_grids)
    told = torch.cat([level.logits[0, :, 1] > 0 for level in heard])
    priors = prior_boxes(tuple(student), tuple(lr_grids), CPU)[told]
    assert (box_iou(priors, box[None] / 4) > SPREAD_IOU).all()
    if family == 'retina':
        assert told.sum() == 8
    else:  # its sides are distances from the centre of a prior: only those inside can have the box
        centres = (priors[:, :2] + priors[:, 2:]) / 2
        assert ((centres > 25) & (centres < 37)).all()


@pytest.mark.parametrize(
    ('kind', 'assigner'), [('AutoAssignHead', None), ('PAAHead', dict(IOU, pos_iou_thr=0.1, neg_iou_thr=0.1))]
)
def test_a_quality_that_is_no_centerness_travels_along(kind, assigner):
    """AutoAssign inherits from FCOS and PAA from ATSS; their third outputs are an objectness and an IoU."""
    config = dict(strides=strides(8)) if assigner is None else {**squares(kind, 8), 'train_cfg': trained(assigner)}
    head = build_model({**config, **COMMON, 'type': kind, 'norm_cfg': GN})
    levels = head_levels(head)
    plan = plan_alignment(levels, levels, Fraction(3, 2))
    guide = []
    for level, grid in zip(levels, level_grids([level.stride for level in levels], (96, 96)), strict=True):
        n = grid[0] * grid[1] * max(len(level.anchors), 1)
        guide.append(
            LevelResponse(torch.full((1, n, 2), -6.0), torch.zeros(1, n, 4), torch.full((1, n), 2.0), None, grid)
        )
    guide[0].logits[0, 5 * 12 + 5], guide[0].boxes[0, 5 * 12 + 5] = 6.0, torch.tensor([10.0, 15, 82, 75])
    heard = placed_responses(plan, head, guide, level_grids([level.stride for level in levels], (64, 64)))
    told = sum(int((level.logits[0, :, 0] > 0).sum()) for level in heard)
    assert all((level.quality == 2.0).all() for level in heard)
    assert 0 < told < 20
