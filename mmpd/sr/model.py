"""The model of the sr task: a network with its preprocessor and its own loss.

Legend: B = batch; h, w = LR sides; H = s·h, W = s·w = HR sides.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from mmdet.registry import MODELS
from mmengine.model import BaseDataPreprocessor, BaseModel
from mmengine.structures import BaseDataElement
from torch import Tensor

from ..errors import ConfigError, DataError


class SRDataSample(BaseDataElement):
    """What belongs to an LR image. Images are (3, H, W) uint8, BGR as they were loaded.

    `gt_img`: the HR image, where it is known. `pred_img`: the network's.
    """


@MODELS.register_module()
class SRPreprocessor(BaseDataPreprocessor):
    """LR images (3, h, w), uint8 BGR, to RGB 0..1: one tensor (B, 3, h, w) where all have one size, else a list.

    Nothing is padded: zeros beside an image would change what a network makes of its border.
    """

    def forward(self, data: dict, training: bool = False) -> dict:
        data = self.cast_data(data)
        images = [image.flip(0).float() / 255 for image in data['inputs']]
        same = len({image.shape for image in images}) == 1
        if training and not same:
            raise DataError(
                f'LR patches of {sorted({tuple(image.shape[-2:]) for image in images})} pixels in one batch: training '
                'patches must have one size, see data.hr_scale'
            )
        return {**data, 'inputs': torch.stack(images) if same else images}


@MODELS.register_module()
class SuperResolver(BaseModel):
    """A super-resolution network, trained with the mean absolute error of its RGB values in 0..1.

    Args:
        backbone: config of an `SRNetwork`; a chain sets its `scale` to the ratio.
        init_cfg: as mmengine has it.
    """

    def __init__(self, backbone: dict, init_cfg: dict | None = None) -> None:
        super().__init__(dict(type='mmdet.SRPreprocessor'), init_cfg)
        if 'scale' not in backbone:
            raise ConfigError('backbone.scale is missing: the chain sets it to ratio, alone it must be given')
        self.backbone: Any = MODELS.build(backbone)

    @property
    def scale(self) -> int:
        """HR side / LR side."""
        return self.backbone.scale

    def forward(self, inputs: Any, data_samples: list | None = None, mode: str = 'tensor') -> Any:
        """mode 'tensor': (B, 3, h, w) RGB 0..1 to (B, 3, H, W), not clamped; 'loss', 'predict': see there."""
        if mode == 'loss':
            return self.loss(inputs, data_samples or [])
        if mode == 'predict':
            return self.predict(inputs, data_samples)
        return self.backbone(inputs)

    def loss(self, inputs: Tensor, data_samples: list) -> dict[str, Tensor]:
        """L_rec = ‖S(x) − y‖₁, a mean over all values; inputs (B, 3, h, w)."""
        return dict(loss_rec=F.l1_loss(self.backbone(inputs), hr_targets(data_samples)))

    def predict(self, inputs: Tensor | Sequence[Tensor], data_samples: list | None = None) -> list:
        """Data samples with `pred_img`; inputs (B, 3, h, w), or images of several sizes."""
        samples = data_samples or [SRDataSample() for _ in inputs]
        for image, sample in zip(inputs, samples, strict=True):
            sample.pred_img = to_uint8(self.backbone(image[None])[0])
        return samples


def hr_targets(data_samples: list) -> Tensor:
    """(B, 3, H, W) RGB 0..1 of the samples' HR images."""
    return torch.stack([sample.gt_img for sample in data_samples]).flip(1).float() / 255


def to_uint8(image: Tensor) -> Tensor:
    """(3, H, W) RGB 0..1 to uint8 BGR: rounded, what lies outside is clamped."""
    return (image.float().clamp(0, 1) * 255).round().to(torch.uint8).flip(0)
