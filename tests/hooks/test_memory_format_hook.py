"""Channels last: the same losses and gradients, in another order of memory."""

from types import SimpleNamespace

from mmpd.hooks.memory_format_hook import ChannelsLastHook
from tests.toys import build_distiller, first_losses

import torch


def test_the_same_step_in_another_order(tmp_path):
    distiller = build_distiller(tmp_path)
    parameters = list(distiller.parameters())
    plain = first_losses(distiller)
    grads = torch.autograd.grad(sum(plain.values()), parameters)
    ChannelsLastHook().before_train(SimpleNamespace(model=distiller))
    assert all(a is b for a, b in zip(distiller.parameters(), parameters, strict=True))  # the optimizer's own
    for net in (distiller.student, distiller.guide):
        weight = net.neck.fpn_convs[0].conv.weight
        assert weight.is_contiguous(memory_format=torch.channels_last) and not weight.is_contiguous()
    losses = first_losses(distiller)
    for name, value in plain.items():
        torch.testing.assert_close(losses[name], value, atol=1e-5, rtol=1e-4)
    for own, before in zip(torch.autograd.grad(sum(losses.values()), parameters), grads, strict=True):
        torch.testing.assert_close(own, before, atol=1e-4, rtol=1e-2)
