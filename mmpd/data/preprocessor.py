"""Batch of pairs: LR padded first, HR to exactly ratio × that (DESIGN §3.1).

Legend: h, w = padded LR sides; H = ratio·h, W = ratio·w = padded HR sides; B = batch.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from fractions import Fraction

import torch
import torch.nn.functional as F
from mmengine.model import BaseDataPreprocessor, ImgDataPreprocessor
from torch import Tensor

from ..errors import ConfigError, DataError
from .sizes import pair_divisor


class PairDataPreprocessor(BaseDataPreprocessor):
    """Normalise and pad pairs; everything that is no pair goes through the student's own preprocessor unchanged.

    Two independent paddings to a multiple of 32 would give 352×512 beside 192×256, which is not 2:1, and shift every
    pyramid level; so the HR batch follows the LR batch, which is padded to `pair_divisor`: no more than the grids need.
    A chain writes that number into the student's own preprocessor, so that it is tested on what it was trained on.

    Args:
        student: the student's preprocessor (mean, std, channel order, pad divisor of the LR images).
        guide: the guide's preprocessor, for the HR images.
        ratio: HR side / LR side = p/q.

    Attributes:
        divisor: padded LR sides are multiples of it.
    """

    def __init__(self, student: ImgDataPreprocessor, guide: ImgDataPreprocessor, ratio: Fraction) -> None:
        super().__init__()
        for owner, preprocessor in (('student', student), ('guide', guide)):
            if getattr(preprocessor, 'batch_augments', None):
                raise ConfigError(
                    f'{owner} data_preprocessor.batch_augments = {preprocessor.batch_augments}: a batch augmentation '
                    'changes one size of a pair and not the other; set it to None in overrides'
                )
        self.ratio = ratio
        self.student = student
        self.guide = copy.deepcopy(guide)
        self.guide.pad_size_divisor = 1
        self.paired_student = copy.deepcopy(student)
        own, guides = (getattr(preprocessor, 'pad_size_divisor', 1) for preprocessor in (student, guide))
        self.divisor = pair_divisor(own, guides, ratio)
        self.paired_student.pad_size_divisor = self.divisor

    def forward(self, data: dict, training: bool = False) -> dict:
        """Paired input `inputs=dict(lr=[(3, h_i, w_i)…], hr=[(3, H_i, W_i)…])` to `inputs=dict(lr=(B, 3, h, w),
        hr=(B, 3, H, W))`, normalised, padding zero; any other input as the student's preprocessor does it."""
        if not isinstance(data['inputs'], Mapping):
            return self.student(data, training)
        images_hr = self.cast_data(data['inputs']['hr'])
        self._check_sizes(data['inputs']['lr'], images_hr)
        batch = self.paired_student({**data, 'inputs': data['inputs']['lr']}, training)
        lr_height, lr_width = batch['inputs'].shape[-2:]
        hr_size = (int(lr_height * self.ratio), int(lr_width * self.ratio))
        batch['inputs'] = dict(lr=batch['inputs'], hr=self._batch_hr(images_hr, hr_size))
        return batch

    def _check_sizes(self, images_lr: list[Tensor], images_hr: list[Tensor]) -> None:
        for index, (lr, hr) in enumerate(zip(images_lr, images_hr, strict=True)):
            if any(
                hr_side != lr_side * self.ratio for hr_side, lr_side in zip(hr.shape[-2:], lr.shape[-2:], strict=True)
            ):
                raise DataError(
                    f'image {index} of the batch: HR {tuple(hr.shape[-2:])} is not {self.ratio} × LR '
                    f'{tuple(lr.shape[-2:])}; make the pair with '
                    f'ReduceResolution(ratio={str(self.ratio)!r}, keep_hr=True)'
                )

    def _batch_hr(self, images: list[Tensor], size: tuple[int, int]) -> Tensor:
        """(B, 3, H, W) float, normalised by the guide's mean and std, then padded as its preprocessor pads."""
        normalised = [self.guide({'inputs': [image]}, False)['inputs'][0] for image in images]
        pads = [(0, size[1] - image.shape[-1], 0, size[0] - image.shape[-2]) for image in normalised]
        value = getattr(self.guide, 'pad_value', 0)
        return torch.stack([F.pad(image, pad, value=value) for image, pad in zip(normalised, pads, strict=True)])
