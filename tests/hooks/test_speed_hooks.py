"""What makes a step faster gives the same losses and gradients."""

from types import SimpleNamespace

from mmpd.distill.view import view_of
from mmpd.errors import ConfigError
from mmpd.hooks.speed_hooks import ChannelsLastHook, CompileGuideHook
from tests.toys import build_distiller, first_losses, toy_pair_batch

import pytest
import torch
from torch import nn


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


@pytest.mark.parametrize('cache', [0, 64])
def test_a_compiled_guide_says_the_same_at_every_size(tmp_path, monkeypatch, cache):
    """With the graph compiler and without its code generator, which takes a minute."""
    compiled = []
    real = torch.compile

    def without_code(function):
        compiled.append(function.__self__)
        return real(function, backend='eager')

    monkeypatch.setattr(torch, 'compile', without_code)
    distiller = build_distiller(tmp_path, guide_cache=cache)
    batches = [toy_pair_batch(2, sizes) for sizes in (((24, 32), (20, 30)), ((40, 24), (40, 24)), ((24, 32), (20, 30)))]
    plain = [first_losses(distiller, batch) for batch in batches]
    fresh = build_distiller(tmp_path, guide_cache=cache)
    CompileGuideHook().before_train(SimpleNamespace(model=fresh))
    assert compiled == [fresh.guide.backbone, fresh.guide.neck, fresh.guide.bbox_head]
    for batch, losses in zip(batches, plain, strict=True):
        for name, value in first_losses(fresh, batch).items():
            torch.testing.assert_close(value, losses[name], atol=1e-5, rtol=1e-4)
    assert fresh.guide.state_dict().keys() == distiller.guide.state_dict().keys()


def test_a_guide_that_is_read_inside_of_its_backbone_is_not_compiled(tmp_path):
    view = view_of(build_distiller(tmp_path).guide)
    view.features = view.net.backbone.layer4
    assert isinstance(view.features, nn.Module)
    with pytest.raises(ConfigError, match='CompileGuideHook'):
        view.compile()
