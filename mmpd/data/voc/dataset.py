"""The VOC-layout data set: every file is checked when it is built, before any training."""

import re
from pathlib import Path

from mmdet.datasets import VOCDataset, XMLDataset
from mmdet.registry import DATASETS
from mmengine.logging import print_log

from ...errors import ConfigError, DataError
from ..classes import read_classes
from ..data_report import DataReport, read_all
from ..image_header import EXTENSIONS, ImageHeader, find_image, read_image_header, to_displayed
from ..seeding import SampleSeedMixin
from .annotation import VOCAnnotation, read_voc_xml

Box = tuple[float, float, float, float]
_FLAGGED = re.compile(r'(\S+)\s+(-1|0|1)')  # a line of VOC's split of one class


@DATASETS.register_module()
class PDVOCDataset(SampleSeedMixin, XMLDataset):
    """VOC layout: `Annotations/<id>.xml`, `JPEGImages/<id>.jpg` (or .jpeg, .png), and a split file with one id a line.

    Boxes follow mmdet's VOC convention: the file's 1-based corners minus 1, both corners inside the object, so
    VOC AP equals mmdet's. They are kept as floats and clipped to the image as it is decoded (EXIF orientation applied).
    Difficult objects get `ignore_flag` 1. `report` (DataReport) says what was dropped or changed.

    Args:
        unknown_classes: 'error' (a class name that `metainfo.classes` lacks is probably a typing error) or 'skip'
            (count and leave out; for training on some of the classes).
        seed: with `epoch` (set by a hook) and the index, what the augmentation of a sample depends on.
        **kwargs: as mmdet's XMLDataset: data_root, ann_file, data_prefix=dict(sub_data_root=...), metainfo=dict(
            classes=...) with the 20 VOC classes as default, pipeline, test_mode, filter_cfg=dict(filter_empty_gt=...).

    Raises:
        DataError: split file missing, empty, or with an id twice; or up to ten files with what is wrong in each.
        ConfigError: `metainfo.classes` or `unknown_classes` cannot be used.
    """

    METAINFO = VOCDataset.METAINFO

    def __init__(self, *args, unknown_classes: str = 'error', seed: int = 0, **kwargs) -> None:
        if unknown_classes not in ('error', 'skip'):
            raise ConfigError(f"unknown_classes is {unknown_classes!r}; choose 'error' or 'skip'")
        self.unknown_classes = unknown_classes
        self.seed = seed
        super().__init__(*args, **kwargs)

    @property
    def sub_data_root(self) -> str:
        """Folder of `Annotations` and `JPEGImages`: `data_prefix.sub_data_root`, else `data_root`."""
        return self.data_prefix.get('sub_data_root') or self.data_root or ''

    def full_init(self) -> None:
        if self._fully_initialized:
            return
        super().full_init()
        print_log(self.report.summary(), logger='current')

    def load_data_list(self) -> list[dict]:
        """Read and check every file of the split. Problems are collected, so that one run shows up to ten of them."""
        classes = read_classes(self._metainfo.get('classes'))
        self.cat2label = {name: label for label, name in enumerate(classes)}
        self.report = DataReport(source=self.ann_file)
        return read_all(read_split(self.ann_file, self.report), self._load_image_info, f'the split {self.ann_file}')

    def _load_image_info(self, image_id: str) -> dict:
        root = Path(self.sub_data_root)
        image_path = find_image(root / self.img_subdir, image_id)
        header = read_image_header(image_path)
        xml_path = root / self.ann_subdir / f'{image_id}.xml'
        annotation = read_voc_xml(xml_path)
        self._note_image(image_id, header, annotation)
        return {
            'img_id': image_id,
            'img_path': str(image_path),
            'xml_path': str(xml_path),
            'width': header.size[0],
            'height': header.size[1],
            'instances': self._instances(image_id, annotation, header),
        }

    def _note_image(self, image_id: str, header: ImageHeader, annotation: VOCAnnotation) -> None:
        if annotation.size is not None and annotation.size not in (header.size, header.stored_size):
            self.report.change('size in the XML is not that of the image, which is used', image_id)
        if header.orientation != 1:
            self.report.change('turned by EXIF orientation', image_id)
        if header.mode.startswith('I'):
            self.report.change('16-bit image, read as 8-bit', image_id)

    def _instances(self, image_id: str, annotation: VOCAnnotation, header: ImageHeader) -> list[dict]:
        # A tool that ignores EXIF writes the stored size and boxes in that frame; only the size tells the two apart.
        in_stored_frame = annotation.size == header.stored_size != header.size
        instances = []
        for item in annotation.objects:
            label = self.cat2label.get(item.name)
            if label is None:
                if self.unknown_classes == 'error':
                    raise DataError(
                        f'annotation {Path(self.ann_subdir) / image_id}.xml: class {item.name!r} is not one '
                        f'of {list(self.cat2label)}. Correct it, add it to metainfo.classes, or set '
                        "unknown_classes='skip'."
                    )
                self.report.drop(f'of unknown class {item.name}', image_id)
                continue
            box: Box = tuple(value - 1 for value in item.box)  # type: ignore[assignment]
            if in_stored_frame:
                box = to_displayed(box, header)
            fitted, dropped, changed = fit_box(box, header.size)
            for reason in changed:
                self.report.change(reason, image_id)
            if fitted is None:
                self.report.drop(dropped, image_id)
                continue
            instances.append({'bbox': list(fitted), 'bbox_label': label, 'ignore_flag': int(item.difficult)})
        return instances

    def filter_data(self) -> list[dict]:
        """Apply `filter_cfg` in training as mmdet does, counted; images whose objects are all difficult count as empty.

        Raises:
            DataError: no image, or not one object to find, is left.
        """
        kept = [info for info in self.data_list if self.test_mode or self._passes_filter(info)]
        flags = [instance['ignore_flag'] for info in kept for instance in info['instances']]
        self.report.images = len(kept)
        self.report.difficult = sum(flags)
        self.report.boxes = len(flags) - sum(flags)
        self.report.negatives = sum(not info['instances'] for info in kept)
        if not self.report.boxes:
            raise DataError(f'no object is left to train on or to find: {self.report.summary()}')
        return kept

    def _passes_filter(self, info: dict) -> bool:
        config = self.filter_cfg or {}
        if min(info['width'], info['height']) < config.get('min_size', 0):
            self.report.drop('images smaller than filter_cfg.min_size', info['img_id'])
            return False
        if config.get('filter_empty_gt', False) and all(item['ignore_flag'] for item in info['instances']):
            reason = 'images with difficult objects only' if info['instances'] else 'images without an object'
            self.report.drop(reason, info['img_id'])
            return False
        return True


def read_split(path: str | Path, report: DataReport | None = None) -> list[str]:
    """The image ids of a split file, one a line; blank lines, surrounding blanks, CRLF and a byte order mark are fine.

    An image extension after an id is taken off. In VOC's split of one class (`cat_train.txt`) each id has a flag: 1,
    the class is there; 0, difficult ones only; −1, it is not, and the image is left out.

    Args:
        report: where ids that are left out are counted.

    Raises:
        DataError: naming the key `ann_file`: missing or unreadable file, no id in it, an id twice.
    """
    try:
        lines = Path(path).read_text(encoding='utf-8-sig').splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else 'it is not UTF-8 text'
        raise DataError(f'the split file {path} (config key `ann_file`) cannot be read: {reason}') from error
    ids = [line.strip() for line in lines if line.strip()]
    flagged = [_FLAGGED.fullmatch(line) for line in ids]
    if all(flagged):
        absent = [match[1] for match in flagged if match and match[2] == '-1']
        ids = [match[1] for match in flagged if match and match[2] != '-1']
        for image_id in absent if report else ():
            report.drop('images without the class of the split file (-1)', image_id)  # type: ignore[union-attr]
    ids = [
        image_id.removesuffix(Path(image_id).suffix) if image_id.endswith(EXTENSIONS) else image_id for image_id in ids
    ]
    if not ids:
        raise DataError(f'the split file {path} (config key `ann_file`) names no image')
    if len(set(ids)) < len(ids):
        twice = [image_id for image_id in dict.fromkeys(ids) if ids.count(image_id) > 1][:5]
        raise DataError(f'the split file {path} (config key `ann_file`) names images twice: {" ".join(twice)}')
    return ids


def fit_box(box: Box, size: tuple[int, int]) -> tuple[Box | None, str, list[str]]:
    """Make a box usable in an image of `size` (width, height); all in pixels of the original image.

    Returns:
        The box with x1 < x2 and y1 < y2 inside the image, or None; the reason where it is None; what was changed.
        Clipping by one pixel is not reported: 0-based files are common, and minus 1 puts their boxes at -1.
    """
    x1, y1, x2, y2 = (min(box[0], box[2]), min(box[1], box[3]), max(box[0], box[2]), max(box[1], box[3]))
    if x1 == x2 or y1 == y2:
        return None, 'boxes of zero area', []
    changed = ['reversed corners put in order'] if (x1, y1) != box[:2] else []
    width, height = size
    inside = (min(max(x1, 0), width), min(max(y1, 0), height), min(max(x2, 0), width), min(max(y2, 0), height))
    if inside[0] >= inside[2] or inside[1] >= inside[3]:
        return None, 'boxes outside the image', changed
    if any(abs(new - old) > 1 for new, old in zip(inside, (x1, y1, x2, y2), strict=True)):
        changed.append('boxes clipped to the image')
    return inside, '', changed
