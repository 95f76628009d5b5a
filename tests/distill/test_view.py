"""A detector seen by the Distiller."""

from mmpd.det.view import DetectorView
from mmpd.distill import view as networks
from mmpd.distill.view import NetworkView, Shape, register_view, view_of
from mmpd.errors import ConfigError
from tests.toys import build_model, toy_retinanet

import pytest
import torch
from torch import nn


@pytest.fixture
def view() -> NetworkView:
    return view_of(build_model(toy_retinanet()))


def test_stem_is_the_first_convolution_before_norm_and_activation(view):
    assert view.stem is view.net.backbone.conv1
    images = torch.randn(1, 3, 64, 64)
    torch.testing.assert_close(view.run(images)['stem'], view.net.backbone.conv1(images))


def test_features_are_the_necks_and_the_head_sees_them(view):
    taps = view.run(torch.randn(2, 3, 64, 96))
    feats = view.feature_maps(taps['features'])
    assert [tuple(f.shape) for f in feats] == [(2, 8, 8, 12), (2, 8, 4, 6), (2, 8, 2, 3), (2, 8, 1, 2)]
    assert taps.inputs('head')[0] is taps['features'] and len(taps['head'][0]) == 4


def test_the_head_is_run_only_if_asked_for(view):
    assert 'head' not in view.run(torch.randn(1, 3, 64, 64), with_head=False)


def test_without_a_neck_the_backbone_gives_the_features():
    class Plain(nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone = nn.Sequential(nn.Conv2d(3, 4, 3))

    view = NetworkView(Plain())
    assert view.features is view.net.backbone and view.head is None and view.num_classes() is None
    assert len(view.feature_maps(torch.zeros(1, 4, 2, 2))) == 1
    levels = view.levels([Shape(4, 8.0), Shape(4, 16.0)])
    assert [(level.stride, level.offset, level.anchors) for level in levels] == [(8.0, 0.5, ()), (16.0, 0.5, ())]


@pytest.mark.parametrize(('kernel', 'padding', 'centre'), [(3, 1, 0.0), (2, 0, 0.5), (4, 'valid', 0.5)])
def test_where_a_cell_looks_follows_from_the_padding(kernel, padding, centre):
    """Measured: averaging layers turn a ramp of positions into the place that each cell sees."""
    stride = 2 if padding == 1 else kernel
    layers = [nn.Conv2d(1, 1, kernel, stride, padding, bias=False) for _ in range(3)]
    for layer in layers:
        nn.init.constant_(layer.weight, 1 / kernel**2)
    net = nn.Module()
    net.backbone = nn.Sequential(*layers)
    ramp = (torch.arange(256) + 0.5).expand(1, 1, 256, 256)
    places = net.backbone(ramp)[0, 0, 2]
    cell = len(places) // 2
    found = float(places[cell].detach()) / stride**3 - cell
    assert NetworkView(net).centre == centre and found == pytest.approx(centre, abs=0.5 / stride**3 + 1e-3)


@pytest.mark.parametrize(
    ('config', 'centre'),
    [
        (dict(type='ResNet', depth=18), 0.0),
        (dict(type='MobileNetV2'), 0.0),
        (dict(type='CSPNeXt'), 0.0),
        (dict(type='SwinTransformer', embed_dims=12, num_heads=[1, 1, 1, 1], depths=[1, 1, 1, 1]), 0.5),
        (dict(type='EfficientNet', arch='b0', out_indices=(3,)), 0.5),
    ],
)
def test_where_the_cells_of_backbones_look(config, centre):
    net = nn.Module()
    net.backbone = build_model(config)
    assert NetworkView(net).centre == centre


def test_probe_measures_and_leaves_no_trace(view):
    view.net.train()
    view.net.neck.eval()
    before = {key: value.clone() for key, value in view.net.state_dict().items()}
    stem, feats = view.probe(96, 160)
    assert stem == Shape(4, 2.0)
    assert [shape.stride for shape in feats] == [8.0, 16.0, 32.0, 48.0]  # the last: 2 rows in 96 pixels
    assert view.net.backbone.training and view.net.bbox_head.training and not view.net.neck.training
    assert all(torch.equal(value, before[key]) for key, value in view.net.state_dict().items())


def test_levels_and_classes_come_from_the_head(view):
    levels = view.levels([])
    assert [level.stride for level in levels] == [8, 16, 32, 64] and levels[0].size == pytest.approx(16)
    assert view.num_classes() == 2


def test_a_backbone_without_convolution_has_no_stem():
    net = nn.Module()
    net.backbone = nn.Linear(1, 1)
    with pytest.raises(ConfigError, match='Linear has no convolution.*ISRD'):
        NetworkView(net)


def test_another_tasks_models_need_a_view(monkeypatch):
    class Mine(nn.Linear):
        pass

    with pytest.raises(ConfigError, match='Mine is no network of a known task.*mmpd.distill.view'):
        view_of(Mine(1, 1))
    monkeypatch.setattr(networks, 'VIEWS', dict(networks.VIEWS))

    @register_view(nn.Linear)
    class LinearView(NetworkView):
        def __init__(self, net):
            self.net = net

    assert isinstance(view_of(Mine(1, 1)), LinearView)
    assert type(view_of(build_model(toy_retinanet()))) is DetectorView
