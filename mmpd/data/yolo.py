"""The YOLO layout: a data.yaml, folders `images`, and beside each a folder `labels` with one text an image."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from mmdet.datasets.base_det_dataset import BaseDetDataset
from mmdet.registry import DATASETS
from mmengine.logging import print_log

from ..errors import ConfigError, DataError
from .classes import read_yaml, yolo_classes
from .data_report import DataReport, read_all
from .image_header import read_image_header
from .seeding import SampleSeedMixin
from .voc.dataset import fit_box

SUFFIXES = ('.bmp', '.jpeg', '.jpg', '.png', '.tif', '.tiff', '.webp')


@DATASETS.register_module()
class PDYOLODataset(SampleSeedMixin, BaseDetDataset):
    """YOLO text labels, as Ultralytics and Roboflow export them.

    `data.yaml` names the classes (`names`: a list or {index: name}) and, per split, what holds its images: a folder, a
    list of folders, or a .txt with one image a line; paths are relative to its own folder, or to `path` in it. The
    labels of `…/images/a.jpg` are in `…/labels/a.txt`: `class x y w h` a line, as shares of the image, (x, y) the
    centre; a polygon (`class x1 y1 x2 y2 …`) counts by its box. An image without a label file has no object. Boxes are
    kept as floats in pixels and clipped to the image. `report` (DataReport) says what was dropped or changed.

    Args:
        ann_file: the data.yaml, below `data_root` where that is given.
        split: key in it: 'train', 'val' or 'test'.
        seed: with `epoch` (set by a hook) and the index, what the augmentation of a sample depends on.
        **kwargs: as mmdet's BaseDetDataset. `metainfo.classes`, where given, must be the names of the data.yaml.

    Raises:
        DataError: no data.yaml, no such split, no image; or up to ten label files with what is wrong in each.
        ConfigError: other class names than the file's.
    """

    def __init__(
        self, *args: Any, ann_file: str = 'data.yaml', split: str = 'train', seed: int = 0, **kwargs: Any
    ) -> None:
        self.split = split
        self.seed = seed
        names = yolo_classes(kwargs.get('data_root'), ann_file)
        given = (kwargs.get('metainfo') or {}).get('classes')
        if given is not None and tuple(given) != names:
            raise ConfigError(f'metainfo.classes = {tuple(given)}, but {ann_file} names {names}: leave it out')
        kwargs['metainfo'] = {**(kwargs.get('metainfo') or {}), 'classes': names}
        super().__init__(*args, ann_file=ann_file, **kwargs)

    def full_init(self) -> None:
        if self._fully_initialized:
            return
        super().full_init()
        print_log(self.report.summary(), logger='current')

    def load_data_list(self) -> list[dict]:
        """Read and check every label file of the split; one run shows up to ten problems."""
        self.report = DataReport(source=f'{self.ann_file} ({self.split})')
        images = enumerate(split_images(Path(self.ann_file), self.split))
        return read_all(images, lambda item: self._load_image_info(*item), f'{self.split} of {self.ann_file}')

    def _load_image_info(self, index: int, image: Path) -> dict:
        header = read_image_header(image)
        width, height = header.size
        instances = []
        for label, box in read_labels(label_file(image), len(self.metainfo['classes'])):
            pixels = (box[0] * width, box[1] * height, box[2] * width, box[3] * height)
            fitted, dropped, changed = fit_box(pixels, header.size)
            for reason in changed:
                self.report.change(reason, image.stem)
            if fitted is None:
                self.report.drop(dropped, image.stem)
                continue
            instances.append(dict(bbox=list(fitted), bbox_label=label, ignore_flag=0))
        return dict(img_id=image.stem, img_path=str(image), width=width, height=height, instances=instances)

    def filter_data(self) -> list[dict]:
        """`filter_cfg.filter_empty_gt` and `min_size` in training, counted.

        Raises:
            DataError: no object is left.
        """
        config = {} if self.test_mode else self.filter_cfg or {}
        kept = []
        for info in self.data_list:
            if min(info['width'], info['height']) < config.get('min_size', 0):
                self.report.drop('images smaller than filter_cfg.min_size', info['img_id'])
            elif config.get('filter_empty_gt', False) and not info['instances']:
                self.report.drop('images without an object', info['img_id'])
            else:
                kept.append(info)
        self.report.images = len(kept)
        self.report.boxes = sum(len(info['instances']) for info in kept)
        self.report.negatives = sum(not info['instances'] for info in kept)
        if not self.report.boxes:
            raise DataError(f'no object is left to train on or to find: {self.report.summary()}')
        return kept


def split_images(data_yaml: Path, split: str) -> list[Path]:
    """The images of a split, sorted within each folder.

    Raises:
        DataError: the split is not in the file, or holds no image.
    """
    content = read_yaml(data_yaml)
    places = content.get(split)
    if not places:
        known = [key for key in ('train', 'val', 'test') if content.get(key)]
        raise DataError(f'{data_yaml} has no split {split!r}; it has {known}')
    root = data_yaml.parent / str(content.get('path') or '')
    images: list[Path] = []
    for place in [places] if isinstance(places, str) else places:
        path = _resolve(root, str(place))
        if path.is_dir():
            images += sorted(file for file in path.rglob('*') if file.suffix.lower() in SUFFIXES)
        elif path.suffix == '.txt' and path.is_file():
            lines = [line.strip() for line in path.read_text(encoding='utf-8').splitlines()]
            images += [_resolve(path.parent, line) for line in lines if line]
        else:
            raise DataError(f'{split} in {data_yaml} names {place!r}, and {path} is no folder and no .txt file')
    if not images:
        raise DataError(f'{split} in {data_yaml} names {places!r}, which holds no image ({", ".join(SUFFIXES)})')
    return images


def _resolve(root: Path, place: str) -> Path:
    """A path in a data.yaml. Roboflow writes `../train/images` for what lies beside the file: both are tried."""
    path = root / place
    inside = root / place.removeprefix('../')
    return path if path.exists() or not inside.exists() else inside


def label_file(image: Path) -> Path:
    """`…/images/…/a.jpg` → `…/labels/…/a.txt`; beside the image where no folder is called images."""
    parts = list(image.parts)
    for index in range(len(parts) - 2, -1, -1):
        if parts[index] == 'images':
            parts[index] = 'labels'
            break
    return Path(*parts).with_suffix('.txt')


def read_labels(path: Path, num_classes: int) -> list[tuple[int, tuple[float, float, float, float]]]:
    """(class, (x1, y1, x2, y2) as shares of the image) per line; [] where there is no such file.

    Raises:
        DataError: naming file and line: not numbers, a class out of range, or coordinates that are no shares.
    """
    if not path.is_file():
        return []
    labels = []
    for number, line in enumerate(path.read_text(encoding='utf-8-sig').splitlines(), start=1):
        words = line.split()
        if not words:
            continue
        where = f'{path}, line {number}: {line.strip()!r}'
        try:
            index, *values = int(float(words[0])), *map(float, words[1:])
        except (ValueError, OverflowError) as error:
            raise DataError(f'{where} is not numbers') from error
        if not 0 <= index < num_classes or float(words[0]) != index:
            raise DataError(
                f'{where}: the class is none of 0 … {num_classes - 1}; names in the data.yaml has that many'
            )
        polygon = len(values) >= 6 and len(values) % 2 == 0
        if len(values) != 4 and not polygon:
            raise DataError(f'{where} has {len(values)} numbers behind the class: 4 of a box, or pairs of a polygon')
        if not all(math.isfinite(value) and -1 <= value <= 2 for value in values):
            raise DataError(f'{where}: these are no shares of the image in [0, 1]; are they pixels?')
        if polygon:
            box = (min(values[::2]), min(values[1::2]), max(values[::2]), max(values[1::2]))
        else:
            x, y, w, h = values
            box = (x - w / 2, y - h / 2, x + w / 2, y + h / 2)
        labels.append((index, box))
    return labels
