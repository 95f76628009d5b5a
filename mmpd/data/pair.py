"""One augmented sample, two sizes (DESIGN §3.1).

The sample is augmented once, at HR. `ReduceResolution` then derives the LR image and the LR boxes from that one
HR image, so nothing random can come between the two. Used alone it is the input of an LR network; with
`keep_hr=True` and `PackPairedInputs` it feeds the Distiller.
"""

from __future__ import annotations

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmdet.datasets.transforms import PackDetInputs
from mmdet.registry import TRANSFORMS

from ..errors import DataError
from .reduction import pad_to_ratio, parse_ratio, reduce_image
from .second_camera import read_lr, replay

META_KEYS = (
    'img_id',
    'img_path',
    'ori_shape',
    'img_shape',
    'scale_factor',
    'hr_scale_factor',
    'flip',
    'flip_direction',
)


@TRANSFORMS.register_module()
class ReduceResolution(BaseTransform):
    """Reduce the HR image (and boxes) of a sample to LR by an exact ratio.

    `scale_factor` is multiplied, not set: it stays the factor from original to network pixels, which is what the
    detector divides its boxes by (a second mmdet `Resize` would overwrite it, and the boxes come out wrong).
    `hr_scale_factor` keeps the factor from original to HR pixels.

    Args:
        ratio: HR side / LR side, e.g. 2 or '3/2'.
        operator: reduction operator by name, see `mmpd.data.reduction.REDUCTIONS`.
        keep_hr: keep the padded HR image as `img_hr` for `PackPairedInputs`.
        lr_prefix: folder of the LR files of a second camera, see `mmpd.data.second_camera`: they take the place of the
            reduced image, moved as the HR image was.
    """

    def __init__(
        self, ratio: int | float | str, operator: str = 'area', keep_hr: bool = False, lr_prefix: str | None = None
    ) -> None:
        self.ratio = parse_ratio(ratio)
        self.operator = operator
        self.keep_hr = keep_hr
        self.lr_prefix = lr_prefix

    def transform(self, results: dict) -> dict:
        img_hr = pad_to_ratio(results['img'], self.ratio)
        if self.lr_prefix is None or self.ratio == 1:
            img_lr = reduce_image(img_hr, self.ratio, self.operator)
        else:
            img_lr = self._second_camera(results, img_hr)
        scale = float(1 / self.ratio)
        hr_scale_factor = results.get('scale_factor', (1.0, 1.0))
        results['hr_scale_factor'] = hr_scale_factor
        results['scale_factor'] = tuple(factor * scale for factor in hr_scale_factor)
        results['img'] = img_lr
        results['img_shape'] = img_lr.shape[:2]
        if results.get('gt_bboxes') is not None:
            results['gt_bboxes'].rescale_((scale, scale))
        if results.get('homography_matrix') is not None:
            reduce_matrix = np.diag([scale, scale, 1.0]).astype(np.float32)
            results['homography_matrix'] = reduce_matrix @ results['homography_matrix']
        if self.keep_hr:
            results['img_hr'] = img_hr
        return results

    def _second_camera(self, results: dict, img_hr: np.ndarray) -> np.ndarray:
        size = (int(img_hr.shape[1] / self.ratio), int(img_hr.shape[0] / self.ratio))
        path, moved = results['img_path'], results.get('homography_matrix')
        try:
            return replay(read_lr(path, self.lr_prefix or ''), moved, self.ratio, results['ori_shape'][:2], size)
        except DataError as error:
            raise DataError(f'{path}: {error}') from error

    def __repr__(self) -> str:
        return f'{type(self).__name__}(ratio={self.ratio}, operator={self.operator!r}, keep_hr={self.keep_hr})'


@TRANSFORMS.register_module()
class PackPairedInputs(PackDetInputs):
    """Pack a sample for the Distiller: `inputs = dict(lr=(3, h, w), hr=(3, ratio·h, ratio·w))`, uint8 tensors.

    The data sample carries LR boxes and LR metainfo: the student is what is trained.
    """

    def __init__(self, meta_keys: tuple[str, ...] = META_KEYS) -> None:
        super().__init__(meta_keys=meta_keys)

    def transform(self, results: dict) -> dict:
        packed = super().transform(results)
        packed['inputs'] = dict(lr=packed['inputs'], hr=image_to_tensor(results['img_hr']))
        return packed


def image_to_tensor(img: np.ndarray) -> torch.Tensor:
    """(H, W, 3) array to a contiguous (3, H, W) tensor of the same dtype."""
    return torch.from_numpy(np.ascontiguousarray(img.transpose(2, 0, 1)))
