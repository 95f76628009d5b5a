"""The plan applied: known peaks land in the right student cell, with their boxes in HR pixels."""

from fractions import Fraction
from types import SimpleNamespace

from mmpd.align.alignment import Alignment
from mmpd.align.placing import OBJECT_SCORE
from mmpd.align.plan import Level
from mmpd.det.view import DetectorView
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

    centre = 0.0

    def probe(self, height, width):
        return Shape(3, 2.0), [Shape(self.channels, stride) for stride in self.strides]

    def levels(self, shapes):
        return tuple(Level(s, ((2.0 * s, 2.0 * s),) * self.anchors, self.offset) for s in self.strides)


def align(guide, student, ratio=2, kind='auto') -> Alignment:
    return Alignment(guide, student, Fraction(ratio), kind)


def response(grid, stride=8.0, anchors=1) -> LevelResponse:
    """Background everywhere (logit -6), boxes of twice the stride around each cell's corner."""
    rows, columns = (torch.arange(n) * stride for n in grid)
    centres = torch.stack(torch.meshgrid(columns, rows, indexing='xy'), dim=-1).reshape(-1, 2)
    boxes = torch.cat([centres - stride, centres + stride], dim=1).repeat_interleave(anchors, dim=0)[None]
    return LevelResponse(torch.full((1, boxes.shape[1], 2), -6.0), boxes, None, None, grid)


def speak(level: LevelResponse, location: int, box, label: int = 0, score: float = 3.0) -> None:
    """Let one location of a level be sure of an object."""
    level.logits[0, location, label] = score
    level.boxes[0, location] = torch.tensor(box, dtype=torch.float)


def test_a_window_hands_the_guides_own_tensors_on():
    alignment = align(FlatView(8, 16), FlatView(4, 8))
    feats = [torch.randn(1, 4, 6, 8), torch.randn(1, 4, 3, 4)]
    grids = [(6, 8), (3, 4)]
    assert all(out.features is feat for out, feat in zip(alignment.features(feats, grids), feats, strict=True))
    guide = [response(grid) for grid in grids]
    aligned = alignment.responses(guide, grids)
    assert all(out.response is given and out.exact for out, given in zip(aligned, guide, strict=True))


def test_an_object_lands_on_the_student_level_of_its_size_around_its_centre_with_its_box():
    alignment = align(FlatView(8, 16, 32), FlatView(8, 16), '3/2')
    assert alignment.plan.kind == 'resample'
    guide = [response((12, 12), 8.0), response((6, 6), 16.0), response((3, 3), 32.0)]
    box = [36.0, 42.0, 60.0, 66.0]  # 24 HR pixels: the student's finest level, whose anchors are 16 · 3/2
    speak(guide[1], 3 * 6 + 3, box, label=1)
    fine, coarse = (out.response for out in alignment.responses(guide, [(8, 8), (4, 4)]))
    sure = fine.scores() > 0.5
    assert not sure[..., 0].any() and not (coarse.scores() > OBJECT_SCORE + 1e-6).any()
    # 12 HR pixels a cell: cells with corners at 48 lie inside, those at 36 and 60 on the edge
    cells = {divmod(int(i), 8) for i in sure[0, :, 1].nonzero()}
    assert (4, 4) in cells and cells <= {(r, c) for r in (4, 5) for c in (4,)}
    assert (fine.boxes[sure[..., 1]] == torch.tensor(box)).all()


def test_a_location_whose_object_has_its_place_elsewhere_is_not_heard_of_it():
    """The guide's cell says "large object": the student's cells of that cell's size are trained on background there."""
    alignment = align(FlatView(8, 16, 32), FlatView(8, 16, 32), '3/2')
    guide = [response((12, 12), 8.0), response((6, 6), 16.0), response((3, 3), 32.0)]
    speak(guide[1], 3 * 6 + 3, [0.0, 0.0, 96.0, 96.0])
    fine, _, coarse = (out.response for out in alignment.responses(guide, [(8, 8), (4, 4), (2, 2)]))
    assert float(fine.scores()[0, 4 * 8 + 4, 0]) == pytest.approx(OBJECT_SCORE)
    assert fine.scores().max() <= OBJECT_SCORE + 1e-6 and (coarse.scores() > 0.9).any()


def test_of_boxes_of_one_object_the_most_confident_is_heard():
    alignment = align(FlatView(8, 16), FlatView(8, 16), '3/2')
    guide = [response((12, 12), 8.0), response((6, 6), 16.0)]
    speak(guide[0], 4 * 12 + 4, [20.0, 20.0, 44.0, 44.0], score=1.0)
    speak(guide[1], 2 * 6 + 2, [21.0, 20.0, 44.0, 44.0], score=4.0)
    fine, _ = (out.response for out in alignment.responses(guide, [(8, 8), (4, 4)]))
    sure = fine.scores()[0, :, 0] > 0.5
    assert sure.any() and (fine.boxes[0, sure, 0] == 21.0).all() and (fine.logits[0, sure, 0] == 4.0).all()


def test_what_the_guide_knows_goes_somewhere():
    """Objects of a level finer than all of the student's still have a place: the cell nearest to them."""
    alignment = align(FlatView(4, 8, 16), FlatView(8, 16), 4)
    guide = [response((32, 32), 4.0), response((16, 16), 8.0), response((8, 8), 16.0)]
    speak(guide[0], 16 * 32 + 16, [60.0, 60.0, 68.0, 68.0])
    (fine,) = (out.response for out in alignment.responses(guide, [(4, 4), (2, 2)]))
    assert (fine.scores()[0, :, 0] > 0.9).nonzero().flatten().tolist() == [2 * 4 + 2]


def test_soft_scores_come_from_the_nearest_size_and_place():
    """No object, but no emptiness either: what is said below the threshold is heard at the same place and size."""
    alignment = align(FlatView(8, 16, 32), FlatView(8, 16), '3/2')
    guide = [response((12, 12), 8.0), response((6, 6), 16.0), response((3, 3), 32.0)]
    guide[1].logits[0, 3 * 6 + 3, 0] = guide[2].logits[0, 2 * 3 + 2, 1] = -3.5
    fine, coarse = (out.response for out in alignment.responses(guide, [(8, 8), (4, 4)]))
    assert fine.logits[0, 4 * 8 + 4].tolist() == [-3.5, -6.0]  # of 24 HR pixels, nearer to 32 than to 16
    assert coarse.logits[0, 2 * 4 + 2].tolist() == [-6.0, -3.5]


def test_centerness_is_that_of_the_students_place_and_other_qualities_travel_along():
    student = FlatView(8)
    guide = response((6, 6))
    guide.quality = torch.full((1, 36), 2.0)
    speak(guide, 2 * 6 + 3, [8.0, 8.0, 40.0, 28.0])
    (out,) = align(FlatView(8), student, '3/2').responses([guide], [(4, 4)])
    assert (out.response.quality == 2.0).all()
    student.head.loss_centerness = True
    (out,) = align(FlatView(8), student, '3/2').responses([guide], [(4, 4)])
    taken = (out.response.logits[0, :, 0] > 0).nonzero().flatten().tolist()
    assert taken
    for location in taken:
        y, x = (12.0 * i for i in divmod(location, 4))
        across, down = sorted((x - 8, 40 - x)), sorted((y - 8, 28 - y))
        expected = (across[0] / across[1] * down[0] / down[1]) ** 0.5
        assert float(out.response.quality[0, location].sigmoid()) == pytest.approx(expected, abs=2e-3)


def test_images_of_a_batch_choose_for_themselves():
    alignment = align(FlatView(8), FlatView(8), 2, 'resample')
    one, two = response((6, 6)), response((6, 6))
    speak(one, 0, [0.0, 0.0, 30.0, 30.0])
    speak(two, 3 * 6 + 3, [16.0, 16.0, 46.0, 46.0])
    both = LevelResponse(torch.cat([one.logits, two.logits]), torch.cat([one.boxes, two.boxes]), None, None, (6, 6))
    (out,) = alignment.responses([both], [(3, 3)])
    assert {tuple(found) for found in (out.response.scores() > 0.5).nonzero()[:, :2].tolist()} == {(0, 4), (1, 8)}
    assert out.response.distribution is None


def test_resampled_features_keep_their_mean_and_place():
    alignment = align(FlatView(8), FlatView(8), 2, 'resample')
    feature = torch.zeros(1, 4, 6, 8)
    feature[..., 2, 4] = 1.0
    (out,) = alignment.features([feature], [(3, 4)])
    assert out.features.shape == (1, 4, 3, 4)
    assert (out.features[0, 0] == out.features[0, 0].max()).nonzero().tolist() == [[1, 2]]
    (flat,) = alignment.features([torch.full((1, 4, 6, 8), 2.0)], [(3, 4)])
    torch.testing.assert_close(flat.features, torch.full((1, 4, 3, 4), 2.0))


@pytest.mark.parametrize('guide_offset', [0.0, 0.5])
def test_the_priors_of_a_head_do_not_move_its_features(guide_offset):
    """Points in the middle of cells (FCOS) and anchors on their corners: the maps below are the same."""
    feature = torch.randn(1, 4, 6, 8)
    alignment = align(FlatView(8, offset=guide_offset), FlatView(4, offset=0.5 - guide_offset))
    (out,) = alignment.features([feature], [(6, 8)])
    torch.testing.assert_close(out.features, feature)


def test_other_anchors_are_no_obstacle():
    """Candidates are matched by size, never by the anchors' index."""
    alignment = align(FlatView(8, anchors=3), FlatView(8), '3/2')
    assert alignment.response_problem() is None
    guide = response((6, 6), anchors=3)
    speak(guide, (3 * 6 + 3) * 3 + 1, [12.0, 12.0, 36.0, 36.0])
    (out,) = alignment.responses([guide], [(4, 4)])
    assert out.response.logits.shape == (1, 16, 2)
    assert (out.response.scores()[0, :, 0] > 0.5).nonzero().flatten().tolist() == [2 * 4 + 2]


def test_masked_student_levels_get_nothing():
    alignment = align(FlatView(8, 16), FlatView(8, 16), 2, 'window')
    assert [
        out.student for out in alignment.features([torch.ones(1, 4, 4, 4), torch.ones(1, 4, 2, 2)], [(2, 2), (1, 1)])
    ] == [0]


def test_real_networks_line_up():
    guide = DetectorView(build_model(toy_retinanet()))
    alignment = align(guide, DetectorView(build_model(toy_retinanet(start_level=0))))
    assert alignment.plan.kind == 'window' and len(alignment.plan.served()) == 4
    assert alignment.stem == Shape(4, 2.0)
    assert [shape.stride for shape in alignment.student_feats] == [4.0, 8.0, 16.0, 32.0]
    assert alignment.response_problem() is None


def test_a_head_with_other_levels_than_its_neck_is_refused():
    broken = DetectorView(build_model(toy_retinanet(strides=[8, 16, 32])))
    with pytest.raises(ConfigError, match=r'student: the head has 3 levels .*4 feature maps.*num_outs.*overrides'):
        align(DetectorView(build_model(toy_retinanet())), broken)


@pytest.mark.parametrize(
    ('guide', 'student', 'words'),
    [
        (dict(classes=3), dict(), 'scores 3 classes per prior, the student head 2'),
    ],
)
def test_heads_that_cannot_be_compared_say_why(guide, student, words):
    assert words in align(FlatView(8, **guide), FlatView(4, **student), kind='resample').response_problem()


@pytest.mark.parametrize('who', ['guide', 'student'])
def test_a_softmax_head_is_no_partner_for_sigmoids(who):
    views = dict(guide=DetectorView(build_model(toy_retinanet())), student=DetectorView(build_model(toy_retinanet())))
    assert align(**views).response_problem() is None
    softmax = dict(type='CrossEntropyLoss', use_sigmoid=False)
    config = toy_retinanet()
    config['bbox_head']['loss_cls'] = softmax
    views[who] = DetectorView(build_model(config))
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
