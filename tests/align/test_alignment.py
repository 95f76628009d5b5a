"""The plan applied: known peaks land in the right student cell, with their boxes in HR pixels."""

from fractions import Fraction
from types import SimpleNamespace

from mmpd.align.alignment import Alignment
from mmpd.align.plan import Level
from mmpd.distill.view import NetworkView, Shape
from mmpd.errors import ConfigError
from mmpd.heads.base import LevelResponse
from tests.toys import build_model, toy_retinanet

import pytest
import torch


class FlatView(NetworkView):
    """A network of which only the pyramid is known; one square anchor of twice the stride a cell."""

    def __init__(self, *strides: float, channels: int = 4, classes: int = 2, offset: float = 0.0, anchors: int = 1):
        self.strides, self.channels = strides, channels  # and no network
        self.anchors, self.offset = anchors, offset
        self.head = SimpleNamespace(cls_out_channels=classes)
        self.net = self

    def probe(self, height, width):
        return Shape(3, 2.0), [Shape(self.channels, stride) for stride in self.strides]

    def levels(self, shapes):
        return tuple(Level(s, ((2.0 * s, 2.0 * s),) * self.anchors, self.offset) for s in self.strides)


def align(guide, student, ratio=2, kind='auto') -> Alignment:
    return Alignment(guide, student, Fraction(ratio), kind)


def response(grid, peak=None, anchors=1, score=3.0, quality=None) -> LevelResponse:
    """Background everywhere (logit -6), boxes that tell their own location, one peak (row, column, anchor, class)."""
    n = grid[0] * grid[1] * anchors
    logits = torch.full((1, n, 2), -6.0)
    boxes = torch.arange(n, dtype=torch.float)[None, :, None].expand(1, n, 4).clone()
    if peak:
        row, column, anchor, label = peak
        logits[0, (row * grid[1] + column) * anchors + anchor, label] = score
    return LevelResponse(logits, boxes, quality, None, grid)


def test_a_window_hands_the_guides_own_tensors_on():
    alignment = align(FlatView(8, 16), FlatView(4, 8))
    feats = [torch.randn(1, 4, 6, 8), torch.randn(1, 4, 3, 4)]
    grids = [(6, 8), (3, 4)]
    assert all(out.features is feat for out, feat in zip(alignment.features(feats, grids), feats, strict=True))
    guide = [response(grid) for grid in grids]
    aligned = alignment.responses(guide, grids)
    assert all(out.response is given and out.exact for out, given in zip(aligned, guide, strict=True))


def test_a_peak_lands_in_the_student_cell_around_it_with_its_box():
    alignment = align(FlatView(8), FlatView(8), 2, 'resample')
    for row, column in [(2, 4), (0, 0), (5, 7)]:
        guide = response((6, 8), (row, column, 0, 1))
        (out,) = alignment.responses([guide], [(3, 4)])
        scores = out.response.scores().view(3, 4, 2)
        assert scores[..., 0].max() < 0.01  # the class is kept
        found = {tuple(cell) for cell in (scores[..., 1] > 0.5).nonzero().tolist()}
        # corner priors: student cell i is centred on guide cell 2i and reaches half way into 2i ± 1
        rows = {r for r in range(3) if abs(2 * r - row) <= 1}
        columns = {c for c in range(4) if abs(2 * c - column) <= 1}
        assert found == {(r, c) for r in rows for c in columns}
        boxes = out.response.boxes.view(3, 4, 4)
        for cell in found:
            assert boxes[cell].tolist() == [row * 8.0 + column] * 4  # the box, as decoded at HR


def test_each_anchor_keeps_its_own_peak():
    alignment = align(FlatView(8, anchors=3), FlatView(8, anchors=3), 2, 'resample')
    (out,) = alignment.responses([response((4, 4), (2, 2, 1, 0), anchors=3)], [(2, 2)])
    peaks = (out.response.scores().view(2, 2, 3, 2) > 0.5).nonzero().tolist()
    assert peaks == [[1, 1, 1, 0]]
    assert out.response.boxes.view(2, 2, 3, 4)[1, 1, 1, 0] == (2 * 4 + 2) * 3 + 1


def test_with_several_guide_levels_the_most_confident_wins():
    alignment = align(FlatView(8, 16), FlatView(8), 2, 'resample')
    assert alignment.plan.matches[0].guides == (0, 1)
    fine, coarse = response((4, 4), (2, 2, 0, 0), score=1.0), response((2, 2), (1, 1, 0, 1), score=4.0)
    coarse.boxes += 1000
    (out,) = alignment.responses([fine, coarse], [(2, 2)])
    scores = out.response.scores().view(2, 2, 2)
    assert scores[1, 1, 1] > 0.9 and scores[1, 1, 0] < 0.01
    assert out.response.boxes.view(2, 2, 4)[1, 1, 0] == 1003


def test_quality_counts_and_travels_along():
    alignment = align(FlatView(8), FlatView(8), 2, 'resample')
    guide = response((4, 4), (2, 2, 0, 0))
    guide.logits[0, 2 * 4 + 1, 0] = 3.0  # equally sure of the class, and of the place not at all
    guide.quality = torch.full((1, 16), 2.0)
    guide.quality[0, 2 * 4 + 1] = -5.0
    (out,) = alignment.responses([guide], [(2, 2)])
    assert out.response.boxes.view(2, 2, 4)[1, 1, 0] == 2 * 4 + 2
    assert out.response.quality.view(2, 2)[1, 1] == 2.0
    assert out.response.distribution is None  # distances in strides mean nothing on another grid


def test_images_of_a_batch_choose_for_themselves():
    alignment = align(FlatView(8), FlatView(8), 2, 'resample')
    one, two = response((4, 4), (0, 0, 0, 0)), response((4, 4), (2, 2, 0, 0))
    both = LevelResponse(torch.cat([one.logits, two.logits]), torch.cat([one.boxes, two.boxes]), None, None, (4, 4))
    (out,) = alignment.responses([both], [(2, 2)])
    assert (out.response.scores() > 0.5).nonzero()[:, :2].tolist() == [[0, 0], [1, 3]]


def test_resampled_features_keep_their_mean_and_place():
    alignment = align(FlatView(8), FlatView(8), 2, 'resample')
    feature = torch.zeros(1, 4, 6, 8)
    feature[..., 2, 4] = 1.0
    (out,) = alignment.features([feature], [(3, 4)])
    assert out.features.shape == (1, 4, 3, 4)
    assert (out.features[0, 0] == out.features[0, 0].max()).nonzero().tolist() == [[1, 2]]
    (flat,) = alignment.features([torch.full((1, 4, 6, 8), 2.0)], [(3, 4)])
    torch.testing.assert_close(flat.features, torch.full((1, 4, 3, 4), 2.0))


def test_masked_student_levels_get_nothing():
    alignment = align(FlatView(8, 16), FlatView(8, 16), 2, 'window')
    assert [
        out.student for out in alignment.features([torch.ones(1, 4, 4, 4), torch.ones(1, 4, 2, 2)], [(2, 2), (1, 1)])
    ] == [0]


def test_real_networks_line_up():
    guide = NetworkView(build_model(toy_retinanet()))
    alignment = align(guide, NetworkView(build_model(toy_retinanet(start_level=0))))
    assert alignment.plan.kind == 'window' and len(alignment.plan.served()) == 4
    assert alignment.stem == Shape(4, 2.0)
    assert [shape.stride for shape in alignment.student_feats] == [4.0, 8.0, 16.0, 32.0]
    assert alignment.response_problem() is None


def test_a_head_with_other_levels_than_its_neck_is_refused():
    broken = NetworkView(build_model(toy_retinanet(strides=[8, 16, 32])))
    with pytest.raises(ConfigError, match=r'student: the head has 3 levels .*4 feature maps.*num_outs.*overrides'):
        align(NetworkView(build_model(toy_retinanet())), broken)


@pytest.mark.parametrize(
    ('guide', 'student', 'words'),
    [
        (dict(classes=3), dict(), 'scores 3 classes per prior, the student head 2'),
        (dict(anchors=3), dict(), 'priors per cell'),
    ],
)
def test_heads_that_cannot_be_compared_say_why(guide, student, words):
    assert words in align(FlatView(8, **guide), FlatView(4, **student), kind='resample').response_problem()


@pytest.mark.parametrize('who', ['guide', 'student'])
def test_a_softmax_head_is_no_partner_for_sigmoids(who):
    views = dict(guide=NetworkView(build_model(toy_retinanet())), student=NetworkView(build_model(toy_retinanet())))
    assert align(**views).response_problem() is None
    softmax = dict(type='CrossEntropyLoss', use_sigmoid=False)
    config = toy_retinanet()
    config['bbox_head']['loss_cls'] = softmax
    views[who] = NetworkView(build_model(config))
    views['student' if who == 'guide' else 'guide'].head.cls_out_channels = views[who].head.cls_out_channels
    assert f'the {who} head RetinaHead scores with a softmax' in align(**views).response_problem()


def test_a_network_without_a_known_head_has_no_responses():
    student = FlatView(4)
    student.head = None
    assert 'has no dense head' in align(FlatView(8), student).response_problem()


def test_main_guide_is_the_nearest_in_size():
    alignment = align(FlatView(8, 16, 32), FlatView(8), 2, 'resample')
    match = alignment.plan.matches[0]
    assert match.guides == (0, 1, 2) and alignment.main_guide(match) == 1
