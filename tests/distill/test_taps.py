"""Taps record what really ran, and say so where it did not."""

from mmpd.distill.taps import Taps

import pytest
import torch
from torch import nn


@pytest.fixture
def net() -> nn.Sequential:
    return nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))


def test_inputs_and_outputs_are_those_of_the_forward(net):
    x = torch.randn(4, 2)
    with Taps({'first': net[0], 'last': net[2]}) as taps:
        out = net(x)
    assert taps['last'] is out and taps.inputs('first')[0] is x
    torch.testing.assert_close(taps['first'], net[0](x))
    assert 'first' in taps and 'other' not in taps


def test_gradients_flow_through_what_was_recorded(net):
    with Taps({'first': net[0]}) as taps:
        net(torch.randn(4, 2))
    taps['first'].sum().backward()
    assert net[0].weight.grad is not None


def test_a_stem_that_is_activated_in_place_is_what_it_was_before():
    """VGG, that of SSD too; ISRD reads the stem before its activation, gradients included."""
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True), nn.Conv2d(4, 4, 3))
    x = torch.randn(1, 3, 8, 8)
    with Taps({'stem': net[0]}) as taps:
        net(x)
    assert taps['stem'].min() < 0 and torch.equal(taps['stem'], net[0](x)) and taps['stem'] is taps['stem']
    taps['stem'].sum().backward()
    assert net[0].weight.grad.abs().sum() > 0


def test_the_first_call_is_kept(net):
    first, second = torch.zeros(1, 2), torch.ones(1, 2)
    with Taps({'first': net[0]}) as taps:
        net(first)
        net(second)
    assert taps.inputs('first')[0] is first


def test_no_hook_stays_behind(net):
    with Taps({'first': net[0]}) as taps:
        pass
    net(torch.zeros(1, 2))
    assert 'first' not in taps and not net[0]._forward_hooks


def test_no_hook_stays_behind_an_error(net):
    with pytest.raises(RuntimeError), Taps({'first': net[0]}):
        net(torch.zeros(1, 5))
    assert not net[0]._forward_hooks


@pytest.mark.parametrize('read', [lambda taps: taps['unused'], lambda taps: taps.inputs('unused')])
def test_a_module_that_did_not_run_is_an_error_that_names_it(net, read):
    with Taps({'first': net[0], 'unused': nn.Conv2d(1, 1, 1)}) as taps:
        net(torch.zeros(1, 2))
    with pytest.raises(RuntimeError, match=r"tap 'unused' on Conv2d was not reached.*\['first'\]"):
        read(taps)
