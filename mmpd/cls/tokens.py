"""Patch tokens of a vision transformer as a feature map."""

from torch import Tensor

from ..errors import ConfigError


def tokens_to_map(tokens: Tensor, grid: tuple[int, int], num_extra_tokens: int = 1) -> Tensor:
    """Drop the class token and lay the patch tokens out on their grid.

    Source: Pixel Distillation, ISRD on transformers (patch embedding plus position embedding → D × H' × W').

    Args:
        tokens: (B, num_extra_tokens + H'·W', D), extra tokens first, patches row by row.
        grid: (H', W') of the patches; for mmpretrain `backbone.patch_embed(x)[1]`.
        num_extra_tokens: class (and distillation) tokens in front; `backbone.num_extra_tokens`.

    Returns:
        (B, D, H', W').

    Raises:
        ConfigError: the token count is not num_extra_tokens + H'·W'.
    """
    height, width = grid
    if tokens.shape[1] != num_extra_tokens + height * width:
        raise ConfigError(
            f'{tokens.shape[1]} tokens are not {num_extra_tokens} extra tokens plus a {height}x{width} grid of '
            'patches; check img_size, patch_size and num_extra_tokens of the backbone'
        )
    return tokens[:, num_extra_tokens:].transpose(1, 2).reshape(tokens.shape[0], -1, height, width)
