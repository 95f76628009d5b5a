"""`init_from`: weights by name and shape, once, at the start of a run that is not resumed."""

from types import SimpleNamespace

from mmpd.errors import CheckpointError
from mmpd.hooks.init_hook import InitFromHook
from tests.toys import build_distiller, build_model, save_weights, toy_retinanet

import pytest
import torch


@pytest.fixture
def source(tmp_path):
    return save_weights(toy_retinanet(start_level=0), tmp_path / 'source.pth', seed=5)


def run(model, tmp_path, iteration: int = 0) -> None:
    InitFromHook(str(tmp_path / 'source.pth')).before_train(SimpleNamespace(model=model, iter=iteration))


def same(a, b) -> bool:
    return all(torch.equal(value, b.state_dict()[key]) for key, value in a.state_dict().items())


def test_the_student_of_a_distiller_starts_from_the_file(tmp_path, source):
    distiller = build_distiller(tmp_path)
    guide = {key: value.clone() for key, value in distiller.guide.state_dict().items()}
    assert not same(distiller.student, source)
    run(distiller, tmp_path)
    assert same(distiller.student, source)
    assert all(torch.equal(value, guide[key]) for key, value in distiller.guide.state_dict().items())


def test_a_plain_network_starts_from_the_file(tmp_path, source):
    net = build_model(toy_retinanet(start_level=0))
    run(net, tmp_path)
    assert same(net, source)


def test_a_resumed_run_keeps_what_it_resumed(tmp_path, source):
    net = build_model(toy_retinanet(start_level=0))
    run(net, tmp_path, iteration=1)
    assert not same(net, source)


def test_what_does_not_fit_keeps_its_own_initialisation(tmp_path, source):
    net = build_model(toy_retinanet(start_level=0, num_classes=5))
    before = net.bbox_head.retina_cls.weight.clone()
    run(net, tmp_path)
    assert torch.equal(net.bbox_head.retina_cls.weight, before)
    assert torch.equal(net.backbone.conv1.weight, source.backbone.conv1.weight)


def test_a_file_of_another_network_is_refused(tmp_path, source):
    with pytest.raises(CheckpointError, match='less than half'):
        run(build_model(toy_retinanet(start_level=0, base_channels=8, out_channels=16)), tmp_path)
