"""What a guide knows through an alignment: exactly all of it through the identity, less through a bad one."""

from __future__ import annotations

from mmpd.align.guide_ap import MAX_PER_IMAGE, GuideAP, detections
from mmpd.chain.chain import read_chain
from mmpd.chain.detector import detector_config
from mmpd.check.guide import measure_guide
from mmpd.errors import ConfigError
from mmpd.heads.base import LevelResponse
from tests.toys import save_weights, toy_chain, toy_retinanet

import pytest
import torch


@pytest.fixture(scope='module')
def measured(tmp_path_factory):
    """A toy guide with scores around 0.3, measured for the assistant (ratio 1) and for students."""
    root = tmp_path_factory.mktemp('guide_ap')
    file = root / 'guide.pth'
    save_weights(detector_config(toy_retinanet(), num_classes=2, pretrained=False), file, spread=1.5)

    def measure(stage: str, **changes) -> GuideAP:
        same = {'stages.teacher.detector.backbone.base_channels': 4,
                'stages.teacher.detector.neck.in_channels': [4, 8, 16, 32]}  # fmt: skip
        return measure_guide(read_chain(toy_chain(root, **same, **changes)).stages[stage], str(file))

    return measure


def test_through_the_identity_it_is_exactly_equal(measured):
    result = measured('assistant')
    assert result.identity['AP50'] > 0
    assert result.identity == result.through
    assert result.kept('AP50') == 1.0


def test_a_fine_window_loses_nothing(measured):
    result = measured('student')
    assert result.identity == result.through


def test_a_masked_level_shows(measured):
    """The cheap student has no level for the guide's finest one, which holds most of the toy's objects."""
    result = measured('student', student_pyramid='cheap', **{'stages.student.align': 'window'})
    assert result.through != result.identity


def test_a_stage_without_guide_or_responses_is_refused(measured, tmp_path):
    with pytest.raises(ConfigError, match=r'stages\.teacher has no guide'):
        measured('teacher')
    softmax = dict(_delete_=True, type='CrossEntropyLoss', use_sigmoid=False)
    other = {'stages.student.overrides.bbox_head.loss_cls': softmax, 'stages.student.terms.response': None}
    with pytest.raises(ConfigError, match='--guide-ap: .*softmax'):
        measured('student', **other)


def response(scores: list[float], boxes: list[list[float]]) -> LevelResponse:
    logits = torch.logit(torch.tensor(scores))[None, :, None]
    return LevelResponse(logits, torch.tensor(boxes)[None], None, None, (1, len(scores)))


def test_post_processing_by_hand():
    fine = response([0.9, 0.8, 0.04], [[0, 0, 10, 10], [1, 0, 11, 10], [50, 50, 60, 60]])
    coarse = response([0.5], [[30, 30, 40, 40]])
    found = detections([fine, coarse], 0)
    assert found['scores'].tolist() == pytest.approx([0.9, 0.5])
    assert found['bboxes'].tolist() == [[0, 0, 10, 10], [30, 30, 40, 40]]


def test_nothing_above_the_threshold_is_no_detection():
    found = detections([response([0.01], [[0, 0, 5, 5]])], 0)
    assert found['bboxes'].shape == (0, 4) and len(found['scores']) == 0


def test_an_image_has_at_most_so_many_detections():
    n = MAX_PER_IMAGE + 20
    boxes = [[20.0 * i, 0.0, 20.0 * i + 10, 10.0] for i in range(n)]
    assert len(detections([response([0.5] * n, boxes)], 0)['scores']) == MAX_PER_IMAGE
