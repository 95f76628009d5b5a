"""The examples of docs/extending.md, run as they stand there."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from types import ModuleType

import mmpd.register  # noqa: F401  (before the registries are copied)
from mmpd.check.heads import decode_finding
from mmpd.data.reduction import REDUCTIONS
from mmpd.heads import base as heads
from tests.toys import TERMS, build_distiller, build_model, first_losses

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS

ROOT = Path(__file__).parents[1]
DOC = (ROOT / 'docs' / 'extending.md').read_text()
EXAMPLES = {name: code for code, name in re.findall(r'```python\n(# (\w+)\.py\n.*?)```', DOC, re.S)}


@pytest.fixture
def example(monkeypatch, request) -> ModuleType:
    """The example as an imported module; what it registers is forgotten afterwards."""
    name = request.param
    monkeypatch.setattr(heads, 'FAMILIES', heads.FAMILIES.copy())
    for registry in (MODELS, REDUCTIONS):
        monkeypatch.setattr(registry, '_module_dict', registry._module_dict.copy())
    module = ModuleType(name)
    monkeypatch.setitem(sys.modules, name, module)
    exec(compile(EXAMPLES[name], f'docs/extending.md:{name}', 'exec'), module.__dict__)
    return module


def test_the_table_names_folders_and_contracts_that_are_there():
    rows = [row.split('|')[1:-1] for row in re.findall(r'^\| a .*\|$', DOC, re.M)]
    assert len(rows) > 8
    for _, place, _, contract in rows:
        for path in re.findall(r'`(mmpd/[\w/.]+)`', place):
            assert (ROOT / path).exists(), path
        for name in re.findall(r'`(mmpd\.[\w.]+)`', contract):
            module, _, attribute = name.rpartition('.')
            assert hasattr(importlib.import_module(module), attribute), name


def yolox() -> dict:
    return dict(
        type='YOLOX',
        data_preprocessor=dict(type='DetDataPreprocessor', pad_size_divisor=32),
        backbone=dict(type='CSPDarknet', deepen_factor=0.33, widen_factor=0.0625, out_indices=(2, 3, 4)),
        neck=dict(type='YOLOXPAFPN', in_channels=[16, 32, 64], out_channels=8, num_csp_blocks=1),
        bbox_head=dict(type='YOLOXHead', num_classes=2, in_channels=8, feat_channels=8),
        train_cfg=dict(assigner=dict(type='SimOTAAssigner', center_radius=2.5)),
        test_cfg=dict(score_thr=0.01, nms=dict(type='nms', iou_threshold=0.65)),
    )


@pytest.mark.parametrize('example', ['head_family'], indirect=True)
def test_the_head_family_decodes_as_the_head_does(example):
    net = build_model(yolox()).eval()
    assert heads.family_of(net.bbox_head) is example.decode_yolox
    assert decode_finding(net, 'student') is None


@pytest.mark.parametrize('example', ['head_family'], indirect=True)
def test_a_wrong_head_family_is_found_out(example):
    heads.register_family(type(build_model(yolox()).bbox_head))(heads.decode_distances)
    finding = decode_finding(build_model(yolox()).eval(), 'student')
    assert finding is not None and finding.error and 'register_family' in finding.text


@pytest.mark.parametrize('example', ['attention_term'], indirect=True)
def test_the_term_trains_the_student_and_is_zero_when_identical(example, tmp_path):
    distiller = build_distiller(tmp_path, terms=dict(TERMS, attention=dict(type='AttentionMapTerm'))).train()
    loss = first_losses(distiller)['loss_attention']
    loss.backward()
    assert loss > 0
    assert distiller.student.backbone.conv1.weight.grad.abs().sum() > 0
    feat = torch.rand(2, 4, 5, 6)
    valid = torch.ones(2, 1, 5, 6, dtype=torch.bool)
    assert example.attention_loss(feat, feat, valid) == 0


@pytest.mark.parametrize('example', ['lens'], indirect=True)
def test_the_operator_reduces_images_by_the_ratio(example):
    from fractions import Fraction

    from mmpd.data.reduction import reduce_image

    image = np.full((12, 18, 3), 77, np.uint8)
    reduced = reduce_image(image, Fraction(3, 2), 'lens')
    assert reduced.shape == (8, 12, 3)
    assert (reduced == 77).all()
