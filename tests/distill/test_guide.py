"""The guide: loaded from its file, never anything else."""

import copy

from mmpd.distill.guide import Frozen
from mmpd.errors import CheckpointError
from tests.toys import build_model, save_weights, toy_retinanet

import pytest
import torch
from mmengine.registry import DefaultScope
from torch import nn


@pytest.fixture
def scope():
    with DefaultScope.overwrite_default_scope('mmdet'):
        yield


@pytest.fixture
def frozen(tmp_path, scope) -> Frozen:
    save_weights(toy_retinanet(), tmp_path / 'guide.pth')
    return Frozen(toy_retinanet(), str(tmp_path / 'guide.pth'))


def test_loading_copies_the_file_and_freezes(frozen):
    assert not frozen.loaded
    frozen.load()
    content = torch.load(frozen.checkpoint, weights_only=True)['state_dict']
    state = frozen.module.state_dict()
    assert frozen.loaded and content.keys() == state.keys()
    assert all(torch.equal(state[key], content[key]) for key in content)
    assert not any(module.training for module in frozen.module.modules())
    assert not any(parameter.requires_grad for parameter in frozen.module.parameters())


def test_a_guide_without_a_file_is_refused(scope):
    with pytest.raises(CheckpointError, match='guide_checkpoint is None.*name its file'):
        Frozen(toy_retinanet(), None).load()


def test_a_file_that_does_not_fit_is_refused_and_the_guide_stays_unloaded(tmp_path, scope):
    save_weights(toy_retinanet(num_classes=3), tmp_path / 'other.pth')
    frozen = Frozen(toy_retinanet(), str(tmp_path / 'other.pth'))
    with pytest.raises(CheckpointError, match='another number of classes'):
        frozen.load()
    assert not frozen.loaded


def test_it_is_no_module_so_nothing_finds_it(frozen):
    holder = nn.Module()
    holder.frozen = frozen
    assert not list(holder.parameters()) and not holder.state_dict() and not list(holder.children())


def test_copies_share_the_network(frozen):
    assert copy.deepcopy(frozen).module is frozen.module


def test_casts_and_moves_reach_parameters_buffers_and_the_preprocessors_device(frozen):
    frozen.load()
    frozen.apply_to_tensors(lambda t: t.to('meta'))
    assert {t.device.type for t in [*frozen.module.parameters(), *frozen.module.buffers()]} == {'meta'}
    assert frozen.module.data_preprocessor.device.type == 'meta'


def test_a_fresh_detector_is_not_touched_by_a_frozen_one(frozen):
    assert all(p.requires_grad for p in build_model(toy_retinanet()).neck.parameters())
