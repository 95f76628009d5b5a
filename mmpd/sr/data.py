"""Images for super-resolution: any folder, aligned LR and HR patches, 8-bit colour.

Legend: s = ratio; HR sides are multiples of s, LR sides HR / s.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
from mmcv.transforms import BaseTransform
from mmdet.registry import DATASETS, TRANSFORMS
from mmengine.dataset import BaseDataset
from mmengine.logging import print_log

from ..data.data_report import DataReport
from ..data.image_header import read_image_header
from ..data.pair import image_to_tensor
from ..data.reduction import parse_ratio, reduce_image
from ..errors import ConfigError, DataError
from .model import SRDataSample

SUFFIXES = ('.png', '.jpg', '.jpeg', '.bmp')
MARGIN = 4
"""LR pixels around a patch that decide its LR pixels where the image is only made small: bicubic reaches 2, Lanczos 3.
Steps of degradation (JPEG's blocks, noise, …) look at the whole image."""
_GRAY = ('1', 'L')


@DATASETS.register_module()
class SRFolder(BaseDataset):
    """Every image below a folder, or below several, in the order of their names.

    Counted and logged: what is no image file, gray images (read as three equal channels). Images with transparency
    (what lies under it is arbitrary), of 16 bits, unreadable ones and those with a side shorter than the training
    patch's longer one are left out of a training set and counted; in a test set, whose numbers they would change, they
    are an error.

    Args:
        data_root: the folder.
        sets: folders below it, each a set of its own in the metrics ('Set5/HR' is called Set5_HR there); () for
            `data_root` itself.
        repeat: samples (other crops) of each image in an epoch.
        split: (start, stop) of the images that are taken, in the order of their names: parts of one folder for
            training and validation.
        kwargs: `pipeline`, `test_mode` as in the other data sets.

    Raises:
        DataError: no such folder, no usable image, or an unusable image in a test set.
    """

    METAINFO: dict = {}

    def __init__(
        self,
        data_root: str,
        sets: Sequence[str] = (),
        repeat: int = 1,
        split: tuple[int, int] | None = None,
        **kwargs,
    ) -> None:
        if repeat < 1:
            raise ConfigError(f'repeat = {repeat!r}: give the number of samples of each image in an epoch, at least 1')
        self.sets, self.repeat, self.split = sets, repeat, split
        self.report = DataReport(source=str(data_root), counts_boxes=False)
        super().__init__(data_root=data_root, **kwargs)

    def load_data_list(self) -> list[dict]:
        root = Path(self.data_root)
        # no slash in a name: what follows the last one is taken for a metric's name
        folders = {Path(name).as_posix().replace('/', '_'): root / name for name in self.sets} or {root.name: root}
        found = [
            dict(img_path=str(path), img_set=name)
            for name, folder in folders.items()
            for path in self._images(folder.expanduser())
        ]
        if self.split is not None:
            found = found[slice(*self.split)]
        found = [entry for entry in found if self._usable(Path(entry['img_path']))]
        self.report.images = len(found)
        print_log(self.report.summary(), 'current', logging.INFO)
        if not found:
            raise DataError(f'{self.data_root} has no image that could be used: {self.report.summary()}')
        return [dict(entry, img_id=index) for index, entry in enumerate(found * self.repeat)]

    @property
    def _least_side(self) -> int:
        """What the patches of the pipeline need, whichever way they are turned."""
        patches = [step.patch for step in self.pipeline.transforms if isinstance(step, AlignedPair) and step.patch]
        return max((side for patch in patches for side in patch), default=1)

    def _images(self, folder: Path) -> list[Path]:
        if not folder.is_dir():
            raise DataError(f'data_root = {str(folder)!r}: no such folder; name the folder of the images')
        files = [path for path in sorted(folder.rglob('*')) if path.is_file()]
        for path in files:
            if path.suffix.lower() not in SUFFIXES:
                self.report.drop('no image file', path.name)
        return [path for path in files if path.suffix.lower() in SUFFIXES]

    def _usable(self, path: Path) -> bool:
        """Whether an image can be used; counts it otherwise, or raises DataError in a test set."""
        try:
            problem = self._problem(path)
        except DataError as error:
            problem, detail = 'unreadable', str(error)
        else:
            detail = f'image {path}: {problem}'
        if problem and self.test_mode:
            raise DataError(f'{detail}. A test set without it would give other numbers: convert or remove the file')
        if problem:
            self.report.drop(problem, path.name)
        return not problem

    def _problem(self, path: Path) -> str:
        """Why an image cannot be used; '' where it can."""
        header = read_image_header(path)
        if header.transparent:
            return 'transparency'
        if header.mode.startswith('I') or _png_depth(path) > 8:
            return 'more than 8 bits a channel'
        if min(header.size) < self._least_side:
            return f'a side shorter than {self._least_side} pixels'
        if header.mode in _GRAY:
            self.report.change('gray, read as three equal channels', path.name)
        return ''


def _png_depth(path: Path) -> int:
    """Bits of a channel in a PNG, 8 for other formats. Pillow calls 16-bit colour 'RGB', and cv2 cuts it to 8."""
    with path.open('rb') as file:
        head = file.read(25)
    return head[24] if head.startswith(b'\x89PNG') and len(head) == 25 else 8


@TRANSFORMS.register_module()
class FlipTranspose(BaseTransform):
    """Flips and transpose of the HR image, each with probability 0.5: the eight positions of a square.

    Uses Python's `random`, which the data set seeds per sample.
    """

    def transform(self, results: dict) -> dict:
        image = results['img']
        if random.random() < 0.5:
            image = image[:, ::-1]
        if random.random() < 0.5:
            image = image[::-1]
        if random.random() < 0.5:
            image = image.transpose(1, 0, 2)
        results['img'] = image
        results['img_shape'] = image.shape[:2]
        return results


@TRANSFORMS.register_module()
class AlignedPair(BaseTransform):
    """The HR image as `gt_img`, its reduction as `img`; sides that s does not divide are cut (right, bottom) first.

    Args:
        ratio: s.
        operator: reduction operator, see `mmpd.data.reduction.REDUCTIONS`.
        patch: (width, height) of a random HR patch; None: the whole image. The patch is that of the whole image's LR
            image to the last bit: it is reduced with a margin, or with the whole image where `operator` has steps of
            degradation.
    """

    def __init__(
        self, ratio: int | str | Fraction, operator: str = 'bicubic', patch: tuple[int, int] | None = None
    ) -> None:
        self.ratio = parse_ratio(ratio)
        self.operator = operator
        self.patch = patch

    def transform(self, results: dict) -> dict:
        scale = self.ratio.numerator
        height, width = (side // scale * scale for side in results['img'].shape[:2])
        image = results['img'][:height, :width]
        if self.patch is None:
            hr, lr = image, reduce_image(np.ascontiguousarray(image), self.ratio, self.operator)
        else:
            hr, lr = self._crop(image, scale, (self.patch[1] // scale, self.patch[0] // scale))
        results.update(gt_img=np.ascontiguousarray(hr), img=lr, img_shape=lr.shape[:2])
        return results

    def _crop(self, image: np.ndarray, scale: int, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """Random patch of `size` (h, w) in LR pixels: (HR patch, LR patch)."""
        margin = max(image.shape) if '+' in self.operator else MARGIN
        outer, inner, patch = [], [], []
        for side, length in zip(image.shape[:2], size, strict=True):
            lr_side = side // scale
            if lr_side < length:
                raise DataError(
                    f'an image of {image.shape[1]}×{image.shape[0]} pixels is smaller than the HR patch {self.patch}'
                )
            start = random.randint(0, lr_side - length)
            first, last = max(start - margin, 0), min(start + length + margin, lr_side)
            outer.append(slice(first * scale, last * scale))
            inner.append(slice(start - first, start - first + length))
            patch.append(slice(start * scale, (start + length) * scale))
        reduced = reduce_image(np.ascontiguousarray(image[tuple(outer)]), self.ratio, self.operator)
        return image[tuple(patch)], np.ascontiguousarray(reduced[tuple(inner)])

    def __repr__(self) -> str:
        return f'{type(self).__name__}(ratio={self.ratio}, operator={self.operator!r}, patch={self.patch})'


@TRANSFORMS.register_module()
class PackSRInputs(BaseTransform):
    """`inputs` (3, h, w) uint8 and a `SRDataSample` with `gt_img`, where there is one, and its path and set.

    Args:
        paired: for the Distiller: inputs = dict(lr=…, hr=…). All networks of the task see the LR image, so both are.
    """

    def __init__(self, paired: bool = False) -> None:
        self.paired = paired

    def transform(self, results: dict) -> dict:
        image = image_to_tensor(results['img'])
        keys = ('img_path', 'img_shape', 'img_set', 'img_id')
        sample = SRDataSample(metainfo={key: results[key] for key in keys if key in results})
        if 'gt_img' in results:
            sample.gt_img = image_to_tensor(results['gt_img'])
        return dict(inputs=dict(lr=image, hr=image) if self.paired else image, data_samples=sample)
