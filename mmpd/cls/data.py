"""Pairs of images with a label, and image folders restricted to a list of classes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from mmdet.registry import DATASETS, TRANSFORMS
from mmengine.logging import print_log
from mmpretrain.datasets import CustomDataset
from mmpretrain.datasets.transforms import PackInputs

from ..data.pair import image_to_tensor
from ..errors import ConfigError, DataError


@TRANSFORMS.register_module()
class PackPairedClsInputs(PackInputs):
    """mmpretrain's packing for the Distiller: `inputs = dict(lr=(3, h, w), hr=(3, ratio·h, ratio·w))`, uint8."""

    def transform(self, results: dict) -> dict:
        packed = super().transform(results)
        packed['inputs'] = dict(lr=packed['inputs'], hr=image_to_tensor(results['img_hr']))
        return packed


@DATASETS.register_module()
class ClassFolders(CustomDataset):
    """`<data_root>/<data_prefix>/<class>/**/*.jpg` of listed classes only; a label is the place in the list.

    mmpretrain's image folders take every folder that is there, and number what they find: no subset, and other numbers
    where a split lacks a class.

    Args:
        classes: names of folders, or a text file with one a line (empty lines and lines that begin with # are skipped).
        kwargs: as mmpretrain's `CustomDataset`.

    Raises:
        ConfigError: a name is listed twice, or none is.
        DataError: a listed folder is not there, or none has an image (a class without one is a warning).
    """

    def __init__(self, classes: str | Sequence[str], **kwargs) -> None:
        super().__init__(classes=read_class_list(classes), **kwargs)

    def _find_samples(self) -> list[tuple[str, int]]:
        root = Path(self.img_prefix)
        missing = [name for name in self.CLASSES if not (root / name).is_dir()]
        if missing:
            raise DataError(f'{root} has no folder for {len(missing)} of the listed classes: {missing[:5]}')
        samples = [
            (str(path.relative_to(root)), label)
            for label, name in enumerate(self.CLASSES)
            for path in sorted((root / name).rglob('*'))
            if self.is_valid_file(path.name)
        ]
        found = {label for _, label in samples}
        empty = [name for label, name in enumerate(self.CLASSES) if label not in found]
        if not samples:
            raise DataError(f'{root} has no image ({", ".join(sorted(self.extensions))}) of a listed class')
        if empty:
            print_log(f'{root} has no image of {len(empty)} listed classes: {empty[:5]}', 'current', logging.WARNING)
        return samples


def read_class_list(classes: str | Sequence[str]) -> tuple[str, ...]:
    """Class names of a list or of a text file with one a line; arguments and errors as `ClassFolders`."""
    if isinstance(classes, str):
        path = Path(classes).expanduser()
        if not path.is_file():
            raise ConfigError(f'classes = {classes!r}: no such file; name a text file with one class folder a line')
        lines = [line.strip() for line in path.read_text(encoding='utf-8').splitlines()]
        classes = [line for line in lines if line and not line.startswith('#')]
    names = tuple(classes)
    twice = sorted({name for name in names if names.count(name) > 1})
    if not names or twice:
        raise ConfigError(f'classes: {len(names)} names, listed twice: {twice}; list each class folder once')
    return names
