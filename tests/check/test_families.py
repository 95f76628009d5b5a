"""Every config of configs/pd_voc*.py, tiny: each stage with a guide trains, and every term reaches the student."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path
from typing import Any

from mmpd.chain.chain import Chain
from mmpd.chain.stage_config import stage_config
from mmpd.check.data import read_train_data, real_batches
from mmpd.check.heads import decode_finding, guide_confidence
from mmpd.check.preflight import build_stage, check_stage, quiet
from mmpd.check.step import loss_rows
from tests.toy_families import FAMILIES, TOY, toy_family

import pytest
import torch
from mmengine.registry import DefaultScope
from torch import nn

CLASS_LAYERS = re.compile(r'(retina_cls|atss_cls|gfl_cls|conv_cls|rtm_cls\.\d|rpn_cls)\.bias$')


@pytest.fixture(scope='module')
def voc(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp('voc')


def make_confident(net: nn.Module) -> None:
    """Class scores of about 0.3, as a guide that has learned something has, instead of the initial 0.01."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if CLASS_LAYERS.search(name):
                parameter.copy_(-0.85 + 0.5 * torch.randn(parameter.shape, generator=generator))
            elif 'rtm_reg' in name and name.endswith('bias'):
                parameter.fill_(1.0)  # untrained, it predicts empty boxes, which overlap nothing


def stage_and_batches(chain: Chain, name: str) -> tuple[Any, list[dict]]:
    with quiet(), DefaultScope.overwrite_default_scope('mmdet'):
        torch.manual_seed(0)
        config = stage_config(chain.stages[name], 'work_dirs', {})
        model = build_stage(config, None, None)
        make_confident(model.guide)
        return model.train(), real_batches(read_train_data(config, None), config, 2)


def total_loss(model: Any, batch: dict) -> torch.Tensor:
    return model.parse_losses(model(**model.data_preprocessor(batch, True), mode='loss'))[0]


def test_a_detr_with_more_queries_than_feature_cells_is_told_what_to_lower(voc):
    chain = toy_family('pd_voc_dino', voc, **{'stages.student.overrides.num_queries': 500})
    (problem,) = check_stage(chain.stages['student'], {}).errors
    assert 'stages.student.overrides.num_queries = 500' in str(problem)
    cells = int(re.search(r'(\d+) feature cells', str(problem)).group(1))
    fitting = toy_family('pd_voc_dino', voc, **{'stages.student.overrides.num_queries': cells})
    assert check_stage(fitting.stages['student'], {}).errors == []


def test_every_config_has_a_toy_version():
    assert set(FAMILIES) == set(TOY)


# Assistant stages that differ in kind from that of pd_voc, which the tests of the Distiller cover.
OWN_ASSISTANTS = ('rtmdet', 'faster_rcnn', 'faster_rcnn_retinanet', 'dino', 'mobilenetv2', 'swin')
STAGES = [(name, 'student') for name in FAMILIES] + [(f'pd_voc_{name}', 'assistant') for name in OWN_ASSISTANTS]


@pytest.mark.parametrize(('name', 'stage'), STAGES)
def test_every_term_reaches_the_student_and_training_lowers_them(name, stage, voc):
    chain = toy_family(name, voc)
    model, batches = stage_and_batches(chain, stage)
    rows, unreached = loss_rows(model, batches)
    assert {row.term for row in rows if row.term} == {
        key for key, term in chain.stages[stage].entry.terms.items() if term
    }
    for row in rows:
        assert torch.isfinite(torch.tensor([row.value, row.gradient])).all(), row
        if row.term:
            assert row.value > 0 and row.gradient > 0, row
    assert unreached == []  # or DDP would need find_unused_parameters
    if stage == 'student':
        optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
        losses = []
        for _ in range(6):
            total, log = model.parse_losses(model(**model.data_preprocessor(batches[0], True), mode='loss'))
            optimizer.zero_grad()
            total.backward()
            optimizer.step()
            # not the total: a dynamic assigner finds its first positives later, and the head's loss starts at zero
            losses.append(sum(log[row.name].item() for row in rows if row.term))
        assert min(losses[-2:]) < losses[0]
        assert decode_finding(model.student, stage) is None


@pytest.mark.parametrize('ratio', ['1', '3/2', '3', '4'])
@pytest.mark.parametrize('name', ['pd_voc_fcos', 'pd_voc_rtmdet', 'pd_voc_swin'])
def test_one_number_swaps_the_resolution(name, ratio, voc):
    twice = {'data.hr_scale': (125, 95)}  # at ratio 4 an image of 61×47 would be mostly padding under a divisor of 32
    model, batches = stage_and_batches(toy_family(name, voc, ratio=ratio, **twice), 'student')
    inputs = model.data_preprocessor(batches[0], True)['inputs']
    hr, lr = inputs['hr'].shape[-2:], inputs['lr'].shape[-2:]
    assert all(a == Fraction(ratio) * b for a, b in zip(hr, lr, strict=True))
    assert torch.isfinite(total_loss(model, batches[0]))


def test_different_widths_get_adapters_that_are_no_part_of_the_student(voc):
    model, _ = stage_and_batches(
        toy_family('pd_voc', voc, **{'stages.teacher.overrides.neck.out_channels': 12,
                                     'stages.teacher.overrides.bbox_head.in_channels': 12}), 'assistant'
    )  # fmt: skip
    assert [conv.out_channels for conv in model.terms['feature'].adapters.values()] == [12] * 5
    assert not any('adapter' in key for key in model.student.state_dict())


@pytest.mark.parametrize('width', [32, 44, 64, 72])
def test_a_deployed_fsr_neck_meets_the_guides_grid_on_every_image_size(width, voc):
    model, _ = stage_and_batches(toy_family('pd_voc_fsr', voc), 'student')
    model.eval()
    lr = torch.zeros(1, 3, 32, width + -width % 32)
    with torch.no_grad():
        fine = model.student.extract_feat(lr)
        guide = model.guide.extract_feat(torch.zeros(1, 3, 64, 2 * lr.shape[-1]))
    assert [feat.shape[-2:] for feat in fine] == [feat.shape[-2:] for feat in guide]


def test_roi_term_is_zero_between_equal_networks(voc):
    twin = {'stages.assistant.guide': 'student', 'stages.student.size': 'hr', 'stages.student.terms': None}
    chain = toy_family(
        'pd_voc_faster_rcnn', voc, **twin, **dict.fromkeys(('stages.student.init_from', 'stages.student.guide'))
    )
    model, batches = stage_and_batches(chain, 'assistant')
    model.student.load_state_dict(model.guide.state_dict())
    model.student.eval()
    losses = model.loss(**model.data_preprocessor(batches[0], True))
    assert losses['loss_roi_cls'].item() == pytest.approx(0, abs=1e-6)
    assert losses['loss_roi_bbox'].item() == pytest.approx(0, abs=1e-6)


def test_roi_term_needs_two_roi_heads(voc):
    roi = {'stages.student.terms.roi': dict(type='RoITerm')}
    with pytest.raises(ValueError, match=r'terms\.roi: the guide, RetinaNet, has no RoI head; remove terms\.roi'):
        stage_and_batches(toy_family('pd_voc', voc, **roi), 'student')


def test_a_two_stage_guide_is_as_sure_as_the_less_sure_of_its_heads(voc):
    """After some steps an RPN is sure of "object" and the RoI head of nothing: a zero RoI loss is no error yet."""
    model, batches = stage_and_batches(toy_family('pd_voc_faster_rcnn', voc), 'student')
    torch.nn.init.constant_(model.guide.rpn_head.rpn_cls.bias, 3.0)
    head = model.guide.roi_head.bbox_head
    torch.nn.init.zeros_(head.fc_cls.weight)
    with torch.no_grad():
        head.fc_cls.bias.copy_(torch.tensor([0.0] * head.num_classes + [9.0]))  # background
        assert guide_confidence(model, batches[:1]) < 0.01
        head.fc_cls.bias[0] = 12.0
    assert guide_confidence(model, batches[:1]) == pytest.approx(0.95, abs=0.02)  # of class 0; background has the rest
