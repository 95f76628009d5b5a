"""Input Spatial Representation Distillation: the HR image from the student's stem."""

from __future__ import annotations

from mmdet.registry import MODELS
from torch import Tensor

from ..align.alignment import Alignment
from ..distill.step import Step
from ..losses.isrd import isrd_loss, isrd_loss_of_stem
from ..modules.isrd_decoder import ISRDDecoder, isrd_scale
from .base import Term


@MODELS.register_module()
class ISRDTerm(Term):
    """Rebuild the normalised HR image from the student's stem (train-time only)."""

    def __init__(self, alignment: Alignment, loss_weight: float = 1.0) -> None:
        super().__init__(alignment, loss_weight)
        hr_stride = alignment.stem.stride * float(alignment.ratio)
        self.decoder = ISRDDecoder(alignment.stem.channels, isrd_scale(round(hr_stride * 1000), 1000))

    def forward(self, step: Step) -> dict[str, Tensor]:
        stem = step.student['stem']
        height, width = step.images_hr.shape[-2:]
        mask = step.mask((height, width))
        decoder = self.decoder
        if decoder.fits(stem, (height, width)):
            loss = isrd_loss_of_stem(stem, decoder.conv.weight, decoder.activation.weight, step.images_hr, mask)
        else:
            loss = isrd_loss(decoder(stem, (height, width)), step.images_hr, mask)
        return {'loss_isrd': self.loss_weight * loss}
