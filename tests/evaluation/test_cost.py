from mmpd.chain.chain import read_chain
from mmpd.errors import ConfigError
from mmpd.evaluation.cost import candidates, network_cost, size_of
from mmpd.evaluation.measure import Network, network_of
from tests.toys import build_model, toy_chain, toy_retinanet

import pytest
from mmengine.config import Config
from mmengine.registry import init_default_scope


@pytest.fixture(autouse=True)
def _scope() -> None:
    init_default_scope('mmdet')


def test_four_times_the_pixels_are_four_times_the_macs() -> None:
    """All sides are multiples of the coarsest stride, so each convolution's output has exactly four times the cells."""
    small = network_cost(toy_retinanet(), (64, 64))
    large = network_cost(toy_retinanet(), (128, 128))
    assert large.macs == pytest.approx(4 * small.macs, rel=1e-6)
    assert large.params == small.params
    assert large.pixels == 4 * small.pixels


def test_params_are_those_of_the_network() -> None:
    net = build_model(toy_retinanet())
    assert network_cost(toy_retinanet(), (64, 48)).params == sum(parameter.numel() for parameter in net.parameters())


def test_macs_are_of_the_padded_image_and_pixels_of_the_image() -> None:
    cost = network_cost(toy_retinanet(), (50, 40))
    assert cost.macs == network_cost(toy_retinanet(), (64, 64)).macs
    assert cost.pixels == 50 * 40


def test_macs_of_the_stem_by_hand() -> None:
    """A wider head changes nothing but the head: the difference is its own multiply-adds."""
    narrow, wide = toy_retinanet(num_classes=2), toy_retinanet(num_classes=5)
    cells = sum((64 // stride) ** 2 for stride in (8, 16, 32, 64))
    difference = network_cost(wide, (64, 64)).macs - network_cost(narrow, (64, 64)).macs
    assert difference == cells * 3 * 9 * 8  # three more outputs of a 3×3 convolution on 8 channels


def test_chain_shows_both_pyramids_of_lr_networks_the_configured_one_first(tmp_path) -> None:
    found, impossible = candidates(read_chain(toy_chain(tmp_path, student_pyramid='cheap')))
    assert not impossible
    costs = [network_cost(one.model, one.size, one.stage, one.pyramid) for one in found]
    named = [('teacher', ''), ('assistant', ''), ('student', 'cheap'), ('student', 'fine')]
    assert [(cost.name, cost.pyramid) for cost in costs] == named
    teacher, assistant, cheap, fine = costs
    assert (teacher.size, fine.size, cheap.size) == ((64, 48), (32, 24), (32, 24))
    assert teacher.macs > assistant.macs > fine.macs > cheap.macs
    assert teacher.pixels == 4 * fine.pixels


def test_size_of_a_pipeline(tmp_path) -> None:
    chain = toy_chain(tmp_path)
    assert size_of(network_of(chain)) == (32, 24)
    assert size_of(network_of(chain, 'teacher')) == (64, 48)
    bare = Network('bare', Config(dict(test_dataloader=dict(dataset=dict(pipeline=[dict(type='LoadImageFromFile')])))))
    with pytest.raises(ConfigError, match='give --size'):
        size_of(bare)
