"""What the Distiller sees of a classifier: maps of CNNs, tokens as maps, and the shapes that ISRD is built from."""

from pathlib import Path

from mmpd.distill.view import view_of
from mmpd.errors import ConfigError
from mmpd.io.state import load_into
from tests.cls.toy_classifiers import (
    build,
    build_distiller,
    pair_batch,
    save_weights,
    step,
    toy_cnn,
    toy_vit,
)

import pytest
import torch
from mmpretrain.models.utils import resize_pos_embed

ISRD = dict(type='mmdet.ISRDTerm')


def test_a_cnn_gives_its_stem_before_norm_its_maps_and_its_logits():
    view = view_of(build(toy_cnn()).eval())
    images = torch.randn(2, 3, 32, 32)
    taps = view.run(images)
    torch.testing.assert_close(taps['stem'], view.net.backbone.conv1(images))
    assert [tuple(m.shape) for m in view.feature_maps(taps['features'])] == [
        (2, 4, 8, 8),
        (2, 8, 4, 4),
        (2, 16, 2, 2),
        (2, 32, 1, 1),
    ]
    torch.testing.assert_close(taps['head'], view.net(images))


def test_a_transformer_gives_tokens_as_maps_on_the_grid_of_its_patches():
    view = view_of(build(toy_vit()).eval())
    images = torch.randn(2, 3, 32, 32)
    taps = view.run(images)
    backbone = view.net.backbone
    patches, grid = backbone.patch_embed(images)
    assert grid == (4, 4)
    with_position = patches + backbone.pos_embed[:, 1:]
    torch.testing.assert_close(taps['stem'], with_position.transpose(1, 2).reshape(2, 8, 4, 4))
    assert [m.shape for m in view.feature_maps(taps['features'])] == [(2, 8, 4, 4)]
    torch.testing.assert_close(taps['head'], view.net(images))


def test_the_grid_of_the_patches_need_not_be_square():
    view = view_of(build(toy_vit()).eval())
    assert view.run(torch.randn(1, 3, 32, 48))['stem'].shape == (1, 8, 4, 6)


def test_pooled_outputs_are_no_maps():
    with pytest.raises(ConfigError, match='not maps.*out_type.*gap_before_final_norm=False'):
        view_of(build(toy_cnn())).feature_maps(torch.zeros(2, 5))


def test_isrd_of_a_transformer_rebuilds_224_pixels_from_3_x_3_patches(tmp_path: Path):
    """192×3×3 → 3·75² = 16875 channels ×3×3 → 3×225² → 3×224²: s is ceil(224 / 3), not the 64 of stride 16."""
    student = toy_vit(56, embed_dims=192, patch_size=16)
    distiller = build_distiller(tmp_path, toy_cnn(out_indices=(3,)), student, 4, isrd=ISRD)
    decoder = distiller.terms['isrd'].decoder
    assert tuple(decoder.conv.weight.shape) == (16875, 192, 1, 1) and decoder.conv.bias is None
    with torch.no_grad():
        stem = distiller.student_view.run(torch.randn(1, 3, 56, 56))['stem']
        assert stem.shape == (1, 192, 3, 3)
        assert decoder.shuffle(decoder.conv(stem)).shape == (1, 3, 225, 225)
        assert decoder(stem, (224, 224)).shape == (1, 3, 224, 224)
        torch.testing.assert_close(
            decoder(stem, (224, 224)), decoder.activation(decoder.shuffle(decoder.conv(stem)))[..., :224, :224]
        )
    assert step(distiller, pair_batch(4, 224, n=1))['loss_isrd'] > 0


@pytest.mark.parametrize(('ratio', 'scale'), [(2, 4), (4, 8)])
def test_isrd_of_a_cnn_enlarges_its_stem_by_twice_the_ratio(tmp_path: Path, ratio: int, scale: int):
    distiller = build_distiller(tmp_path, toy_cnn(), toy_cnn(), ratio, isrd=ISRD)
    assert distiller.terms['isrd'].decoder.scale == scale


def test_init_from_brings_the_position_embedding_to_the_smaller_grid(tmp_path: Path):
    large = save_weights(toy_vit(32), tmp_path / 'large.pth')
    small = build(toy_vit(16))
    report = load_into(small, tmp_path / 'large.pth', partial=True)
    assert not report.mismatched and not report.missing
    expected = resize_pos_embed(large.backbone.pos_embed, (4, 4), (2, 2), 'bicubic', 1)
    torch.testing.assert_close(small.backbone.pos_embed, expected)
