"""Images of any size, upscaled: `mmpd infer` for the sr task."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ..evaluation.writers import register_writer
from .model import SuperResolver, to_uint8
from .tiling import upscale


@register_writer(SuperResolver)
class Upscaler:
    """An image (h, w, 3) uint8 RGB to (s·h, s·w, 3).

    Args:
        model: a `SuperResolver` in eval.
        tile: side of a tile in LR pixels, see `mmpd.sr.tiling`; 0: the whole image at once.
    """

    options = ('tile',)

    def __init__(self, model: Any, tile: int = 256) -> None:
        self.model, self.tile = model, tile

    @torch.no_grad()
    def __call__(self, image: np.ndarray) -> np.ndarray:
        planes = torch.from_numpy(np.ascontiguousarray(image[..., ::-1].transpose(2, 0, 1)))
        pixels = self.model.data_preprocessor(dict(inputs=[planes]))['inputs']
        result = to_uint8(upscale(self.model, pixels, self.model.scale, self.tile)[0])
        return np.ascontiguousarray(result.flip(0).permute(1, 2, 0).cpu().numpy())
