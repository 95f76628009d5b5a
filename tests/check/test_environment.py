"""What the machine lacks is told by the preflight of every stage, before the first one trains."""

import importlib.util

from mmpd.chain.chain import read_chain
from mmpd.check.environment import environment_findings
from mmpd.check.preflight import check_stage
from tests.toys import toy_chain

import pytest
import torch
from mmengine.config import Config


def findings(**config) -> list[str]:
    return [str(finding) for finding in environment_findings(Config(config))]


def test_a_logger_that_is_not_installed(monkeypatch):
    visualizer = dict(type='DetLocalVisualizer', vis_backends=[dict(type='TensorboardVisBackend')])
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None if 'tensorboard' in name else find(name))
    assert 'pip install tensorboard' in findings(visualizer=visualizer)[0]
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: object())
    assert findings(visualizer=visualizer) == []
    assert findings(visualizer=dict(vis_backends=[dict(type='LocalVisBackend')])) == []


@pytest.mark.parametrize(
    ('cuda', 'bf16', 'dtype', 'says'),
    [
        (False, False, 'float16', 'GPUs alone'),
        (True, False, 'bfloat16', "use 'float16'"),
        (True, True, 'bfloat16', None),
        (True, False, 'float16', None),
    ],
)
def test_a_precision_that_the_device_has_not(monkeypatch, cuda, bf16, dtype, says):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: cuda)
    monkeypatch.setattr(torch.cuda, 'is_bf16_supported', lambda: bf16)
    found = findings(optim_wrapper=dict(type='mmengine.AmpOptimWrapper', dtype=dtype))
    assert (says in found[0]) if says else found == []


def test_a_stages_own_runner_is_looked_at(tmp_path):
    chain = read_chain(
        toy_chain(tmp_path, **{'stages.student.runner': dict(optim_wrapper=dict(type='AmpOptimWrapper'))})
    )
    if not torch.cuda.is_available():
        assert any('GPUs alone' in str(finding) for finding in check_stage(chain.stages['student'], {}).errors)
    assert not check_stage(chain.stages['teacher'], {}).errors


def test_an_error_in_the_data_is_not_blamed_on_the_detector(tmp_path):
    chain = read_chain(toy_chain(tmp_path, **{'data.augment': [dict(type='RandomCrop', crop_size='wide')]}))
    text = str(check_stage(chain.stages['teacher'], {}).errors[0])
    assert 'data.augment' in text and 'detector' not in text
