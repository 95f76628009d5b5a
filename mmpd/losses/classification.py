"""Distillation losses of the classification set, as pure functions.

Shape legend: B batch, C classes or channels, (h, w) the student's grid, (H, W) the guide's grid.
Gradients flow to the student only: every function detaches what comes from the guide.
All sums run in float32 (float64 stays float64), also under autocast: squared half features overflow.
Where the two grids differ, the student's map is brought to the guide's (`to_guide_grid`), as the Pixel Distillation
paper does for the feature methods it compares with; the class and pair relations (KD, DKD, SP, ICC) need no grid.
"""

import torch.nn.functional as F
from torch import Tensor

from ..errors import ConfigError
from .kd import _full


def attention_transfer_loss(student_map: Tensor, guide_map: Tensor) -> Tensor:
    """Attention transfer: mean square of the difference between two L2-normalised attention maps.

    The attention map is the sum over channels of the squared features, flattened; channel counts may differ.

    Source: Zagoruyko & Komodakis 2017 (ICLR), equation 2 with F²_sum and p = 2. Deviations: the mean of the squares
    over positions and batch instead of the norm (as in the authors' code, whose weight 1000 belongs to this form);
    between unequal grids the student's *attention map* is upsampled, before it is normalised.

    Args:
        student_map: (B, c, h, w).
        guide_map: (B, C, H, W).

    Returns:
        Scalar in [0, 2 / (H·W)]: both maps are ≥ 0 with norm 1, so the weight has to grow with the grid.
    """
    attention_student = _full(student_map).square().sum(1, keepdim=True)
    attention_guide = _full(guide_map).detach().square().sum(1, keepdim=True)
    attention_student = to_guide_grid(attention_student, attention_guide)
    difference = F.normalize(attention_student.flatten(1)) - F.normalize(attention_guide.flatten(1))
    return difference.square().mean()


def similarity_preserving_loss(student_map: Tensor, guide_map: Tensor) -> Tensor:
    """Similarity-preserving distillation: ‖G_guide − G_student‖²_F / B², G = row-normalised Q·Qᵀ of a batch.

    Q is the batch of flattened maps, so neither channels nor grids have to agree, and nothing is resampled.

    Source: Tung & Mori 2019 (ICCV), equations 1 to 4. Under DDP the pairs are those of one rank's batch.

    Args:
        student_map: (B, c, h, w) or (B, c).
        guide_map: (B, C, H, W) or (B, C).

    Returns:
        Scalar in [0, 4 / B]; 0 for a batch of one, which holds no pair.
    """
    similarity_student = _row_normalised_gram(_full(student_map).flatten(1))
    similarity_guide = _row_normalised_gram(_full(guide_map).detach().flatten(1))
    return (similarity_student - similarity_guide).square().mean()


def icc_loss(student_map: Tensor, guide_map: Tensor) -> Tensor:
    """Inter-channel correlation: mean over batch and channels of the squared distance of correlation rows.

    The correlation of channels m, n is the inner product of their flattened maps; the grids may differ.

    Source: Liu et al. 2021 (ICCV, ICKD-C). Deviations: every row of the C × C matrix is L2-normalised, because an
    inner product over r² times as many positions is r² times larger, and the guide's HR grid would always win; and
    the squared error is divided by C, not C², because a normalised row has norm 1 whatever C is.

    Args:
        student_map: (B, C, h, w); a student with other channels needs a linear (1×1) adapter first, as in the paper.
        guide_map: (B, C, H, W).

    Returns:
        Scalar in [0, 4].

    Raises:
        ConfigError: the channel counts differ.
    """
    if student_map.shape[1] != guide_map.shape[1]:
        raise ConfigError(
            f'ICKD compares channels one by one: student has {student_map.shape[1]}, guide {guide_map.shape[1]} '
            'channels; give the term an adapter to the guide channels'
        )
    correlation_student = _row_normalised_gram(_full(student_map).flatten(2))
    correlation_guide = _row_normalised_gram(_full(guide_map).detach().flatten(2))
    return (correlation_student - correlation_guide).square().sum(-1).mean()


def feature_imitation_loss(student_map: Tensor, guide_map: Tensor) -> Tensor:
    """Feature imitation: mean squared difference on the guide's grid.

    Source: Romero et al. 2015 (FitNets), equation 3, with the mean in place of half the sum, so that the weight does
    not depend on the size of the map; the student's map is upsampled as in the Pixel Distillation comparisons.

    Args:
        student_map: (B, C, h, w), with the guide's channels (adapt them first).
        guide_map: (B, C, H, W).

    Returns:
        Scalar ≥ 0.

    Raises:
        ConfigError: the channel counts differ.
    """
    if student_map.shape[1] != guide_map.shape[1]:
        raise ConfigError(
            f'feature imitation compares channels one by one: student has {student_map.shape[1]}, guide '
            f'{guide_map.shape[1]} channels; give the term an adapter to the guide channels'
        )
    guide = _full(guide_map).detach()
    return F.mse_loss(to_guide_grid(_full(student_map), guide), guide)


def to_guide_grid(student_map: Tensor, guide_map: Tensor) -> Tensor:
    """The student's map (B, c, h, w) on the guide's grid: (B, c, H, W), bilinear, half-pixel centres.

    Corner-aligned resampling would shift every cell but the middle one: the two grids cover the same image, so their
    outer *edges* agree, not their outer centres. Antialiasing changes nothing where the map is enlarged; it matters
    for pairs whose student has the finer grid (a CNN student of a ViT guide), which plain bilinear would subsample.
    """
    if student_map.shape[-2:] == guide_map.shape[-2:]:
        return student_map
    size = (guide_map.shape[-2], guide_map.shape[-1])
    return F.interpolate(student_map, size=size, mode='bilinear', align_corners=False, antialias=True)


def _row_normalised_gram(rows: Tensor) -> Tensor:
    """(…, N, D) to the (…, N, N) inner products of the rows, each row of the result with L2 norm 1."""
    return F.normalize(rows @ rows.transpose(-1, -2), dim=-1)
