"""One process against torch's batch normalisation. mmcv's Python, not ours, averages over processes."""

from collections.abc import Iterator

import mmpd  # noqa: F401  (installs the stand-in)

import pytest
import torch
import torch.distributed as dist
from mmcv.ops import SyncBatchNorm


@pytest.fixture(autouse=True)
def _process_group(tmp_path) -> Iterator[None]:
    dist.init_process_group('gloo', init_method=f'file://{tmp_path}/store', rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.parametrize('mode', ['default', 'N'])
def test_as_torch_has_it(mode):
    torch.manual_seed(0)
    ours, reference = SyncBatchNorm(4, stats_mode=mode), torch.nn.BatchNorm2d(4)
    reference.load_state_dict(ours.state_dict())
    results = []
    for layer in (ours, reference):
        x = (torch.randn(3, 4, 5, 6, generator=torch.Generator().manual_seed(1)) * 3 + 2).requires_grad_()
        output = layer(x)
        output.square().mul(torch.arange(6.0)).sum().backward()
        layer.eval()
        statistics = [layer.running_mean, layer.running_var]
        results.append([output, x.grad, layer.weight.grad, layer.bias.grad, *statistics, layer(x)])
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_a_batch_without_a_roi():
    """What mmdet's configs take it for: a head that got no proposal."""
    layer = SyncBatchNorm(4, stats_mode='N')
    x = torch.zeros(0, 4, 7, 7, requires_grad=True)
    layer(x).sum().backward()
    assert not layer.running_mean.any() and bool((layer.running_var == 1).all()) and x.grad.shape == x.shape
