"""Patch tokens to a map: order, class token, grid rule."""

from mmpd.cls.tokens import tokens_to_map
from mmpd.errors import ConfigError

import pytest
import torch


def test_patches_go_row_by_row_and_the_class_token_is_dropped():
    tokens = torch.arange(7.0)[None, :, None] * torch.tensor([1.0, 10.0])  # token i holds (i, 10·i); 0 is the class
    found = tokens_to_map(tokens, (2, 3))
    assert found.shape == (1, 2, 2, 3)
    assert found[0, 0].tolist() == [[1, 2, 3], [4, 5, 6]]
    assert found[0, 1].tolist() == [[10, 20, 30], [40, 50, 60]]


def test_undoes_the_flattening_of_a_patch_convolution():
    patches = torch.randn(2, 5, 3, 4)
    torch.testing.assert_close(tokens_to_map(patches.flatten(2).transpose(1, 2), (3, 4), 0), patches, rtol=0, atol=0)


def test_a_wrong_grid_is_named():
    with pytest.raises(ConfigError, match='7 tokens are not 1 extra tokens plus a 2x2'):
        tokens_to_map(torch.zeros(1, 7, 2), (2, 2))
