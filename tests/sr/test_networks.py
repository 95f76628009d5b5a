"""The networks keep their contract and have the published sizes."""

from mmpd.distill.view import view_of
from mmpd.errors import ConfigError
from mmpd.sr.model import to_uint8
from tests.sr.toys import build, pair_batch, toy_edsr

import numpy as np
import pytest
import torch
from PIL import Image

SMALL = {
    'EDSR': dict(channels=4, blocks=3),
    'RCAN': dict(groups=3, blocks=1, channels=16),
    'SwinIR': dict(channels=6, depths=(2, 2), heads=2, window=4, drop_path=0.0),
}


def network(kind: str, scale: int, **size):
    if kind != 'EDSR':
        pytest.importorskip('spandrel')
    torch.manual_seed(0)
    return build(dict(type='SuperResolver', backbone=dict(type=kind, scale=scale, **(size or SMALL[kind]))))


@pytest.mark.parametrize('kind', SMALL)
@pytest.mark.parametrize('scale', [2, 3, 4])
def test_an_image_of_any_size_comes_out_scaled_and_is_left_as_it_was(kind: str, scale: int):
    net = network(kind, scale).eval()
    image = torch.rand(2, 3, 9, 14)
    before = image.clone()
    with torch.no_grad():
        output = net(image)
    assert output.shape == (2, 3, 9 * scale, 14 * scale) and output.dtype == torch.float32
    assert torch.equal(image, before)  # other terms read the same tensor


@pytest.mark.parametrize('kind', SMALL)
def test_every_parameter_learns(kind: str):
    net = network(kind, 2).train()
    net(torch.rand(1, 3, 8, 8)).square().mean().backward()
    assert [name for name, p in net.named_parameters() if p.grad is None] == []


@pytest.mark.parametrize('kind', SMALL)
def test_no_tensor_is_in_the_checkpoint_twice(kind: str):
    pointers = [value.data_ptr() for value in network(kind, 2).state_dict().values() if value.numel()]
    assert len(pointers) == len(set(pointers))


@pytest.mark.parametrize('kind', SMALL)
def test_taps_give_stem_three_maps_on_the_images_grid_and_the_image(kind: str):
    net = network(kind, 2).eval()
    view = view_of(net)
    image = torch.rand(2, 3, 8, 12)
    with torch.no_grad():
        taps = view.run(image)
        assert torch.equal(taps['head'], net(image))
    maps = view.feature_maps(taps['features'])
    assert len(maps) == 3 and all(m.shape[0] == 2 and m.shape[2:] == (8, 12) for m in maps)
    assert taps['stem'].shape[2:] == (8, 12) and 'features' in taps


def test_a_swin_map_has_its_tokens_row_by_row():
    group_map = network('SwinIR', 2).backbone.group_map
    tokens = torch.arange(12.0).view(1, 6, 2)  # position p holds (2p, 2p + 1)
    feature = group_map(tokens, (None, (2, 3)))
    assert feature[0, 0].tolist() == [[0, 2, 4], [6, 8, 10]]


def test_edsr_with_a_skip_starts_from_the_bicubic_image():
    net = network('EDSR', 2, channels=4, blocks=1, bicubic_skip=True).eval()
    torch.nn.init.zeros_(net.backbone.trunk.out.weight)
    torch.nn.init.zeros_(net.backbone.trunk.out.bias)
    rng = np.random.default_rng(0)
    image = rng.integers(60, 200, (6, 7, 3), dtype=np.uint8)
    with torch.no_grad():
        output = net(torch.from_numpy(image).permute(2, 0, 1)[None] / 255)[0]
    # torch enlarges with a = -0.75, Pillow with -0.5: the same picture, not the same pixels
    expected = np.asarray(Image.fromarray(image).resize((14, 12), Image.Resampling.BICUBIC)).transpose(2, 0, 1)
    assert (output * 255 - torch.from_numpy(expected.copy())).abs().mean() < 8


@pytest.mark.parametrize(
    ('kind', 'size', 'millions'),
    [
        ('EDSR', dict(channels=256, blocks=32, res_scale=0.1), {2: 40.73, 3: 43.68, 4: 43.09}),
        ('EDSR', dict(channels=64, blocks=16), {2: 1.37, 3: 1.555, 4: 1.518}),
        ('RCAN', dict(groups=10, blocks=20), {2: 15.44, 3: 15.63, 4: 15.59}),
        ('SwinIR', dict(channels=180, depths=(6,) * 6), {2: 11.75, 3: 11.94, 4: 11.90}),
    ],
)
def test_parameters_are_as_many_as_published(kind: str, size: dict, millions: dict[int, float]):
    for scale, expected in millions.items():
        with torch.device('cpu' if kind == 'SwinIR' else 'meta'):  # SwinIR reads values of tensors as it is built
            count = sum(p.numel() for p in network(kind, scale, **size).parameters())
        assert count / 1e6 == pytest.approx(expected, rel=2e-3)


def test_a_scale_that_no_network_is_made_for_is_refused():
    with pytest.raises(ConfigError, match='ratio = 5'):
        build(toy_edsr(scale=5))
    with pytest.raises(ConfigError, match='backbone.scale is missing'):
        build(toy_edsr())


def test_prediction_is_the_image_rounded_and_clamped_in_the_files_channel_order():
    net = network('EDSR', 2).eval()
    batch = pair_batch()
    data = net.data_preprocessor(dict(inputs=batch['inputs']['lr'], data_samples=batch['data_samples']))
    assert torch.equal(data['inputs'][0] * 255, batch['inputs']['lr'][0].flip(0).float())
    with torch.no_grad():
        found = net(**data, mode='predict')
        expected = net(data['inputs'])
    for sample, image in zip(found, expected, strict=True):
        assert sample.pred_img.dtype == torch.uint8
        assert torch.equal(sample.pred_img.flip(0).float(), (image.clamp(0, 1) * 255).round())
    assert to_uint8(torch.tensor([-1.0, 0.5, 2.0]).view(3, 1, 1)).flatten().tolist() == [255, 128, 0]


def test_images_of_several_sizes_are_predicted_as_if_each_were_alone():
    net = network('EDSR', 2).eval()
    images = [torch.randint(0, 256, (3, 8, side), dtype=torch.uint8) for side in (9, 12)]
    with torch.no_grad():
        together = net.test_step(dict(inputs=images))
        alone = [net.test_step(dict(inputs=[image]))[0] for image in images]
    for one, other in zip(together, alone, strict=True):
        assert torch.equal(one.pred_img, other.pred_img)
