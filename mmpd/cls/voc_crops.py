"""Cuts the objects of a VOC-layout detection set into an image-folder classification set.

The result is `<target>/<split>/<class>/<image id>_<object number>.jpg`, square images of one size, plus `crops.json`,
which says how it was made and what was left out. Splits go by image, so no photograph is in two of them.
Coordinates here are pixels of the original image, 0-based, half open: [x1, x2) × [y1, y2).
"""

import hashlib
import json
import math
import os
import shutil
import tempfile
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np

from ..data.image_header import find_image
from ..data.voc.annotation import read_voc_xml
from ..data.voc.dataset import PDVOCDataset, read_split
from ..errors import ConfigError, DataError

MARKER = 'crops.json'
SPLITS = ('train', 'val', 'test')
FORMAT = 1  # raised when the same source and options would give other pixels, so that old results are not taken for new
_JPEG_QUALITY = 95


@dataclass(frozen=True)
class CropOptions:
    """How crops are cut.

    Attributes:
        size: side of the saved images, pixels.
        context: side of the crop over the longest side of the box.
        min_side: objects whose longest side is shorter (pixels of the original image) are left out: blown up to
            `size` they hold no more detail at high resolution than at low, and only blur the comparison.
    """

    size: int = 96
    context: float = 1.2
    min_side: int = 32

    def __post_init__(self) -> None:
        if self.size < 1 or self.min_side < 1:
            raise ConfigError(f'size={self.size} and min_side={self.min_side} must be at least 1 pixel')
        if not 1 <= self.context < math.inf:
            raise ConfigError(f'context={self.context} must be at least 1: a smaller crop cuts the object off')


def convert(source: str | Path, target: str | Path, options: CropOptions) -> dict:
    """Write the classification set of `source` into `target`; a set that is already there is left as it is.

    Difficult objects, boxes without area and objects under `options.min_side` are left out and counted.

    Args:
        source: folder with Annotations, JPEGImages and ImageSets/Main/{train,val,test}.txt (train is needed).
        target: folder to make. It appears whole or not at all.
        options: see `CropOptions`.

    Returns:
        The content of `<target>/crops.json`: options, classes, and by split `images`, `crops` by class, `left_out`
        by reason, `padded` (crops that reach over the image's border) and `enlarged` (crops cut smaller than `size`).

    Raises:
        DataError: the source cannot be used, or `target` holds something else (other options, other data).
    """
    source, target = Path(source), Path(target)
    splits = _read_splits(source)
    marker = dict(format=FORMAT, options=asdict(options), source_sha256=_fingerprint(source, splits))
    existing = _read_existing(target, marker)
    if existing is not None:
        return existing
    classes = _class_names(source, splits)
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(prefix=f'{target.name}.partial-', dir=target.parent))
    try:
        marker['classes'] = classes
        marker['splits'] = {split: _cut_split(source, partial, split, classes, options) for split in splits}
        (partial / MARKER).write_text(json.dumps(marker, indent=1) + '\n')
        partial.chmod(0o755)  # mkdtemp makes folders that no one else can read
        os.replace(partial, target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return marker


def crop_window(
    box: tuple[float, float, float, float], image_size: tuple[int, int], context: float
) -> tuple[int, int, int]:
    """The square around a box: (left, top, side), whole pixels.

    Its side is `context` × the longest side of the box, but the context gives way before the square outgrows the
    image: real pixels beat repeated ones. It is centred on the box, then shifted into the image. Along an axis where
    it is still larger than the image it is centred on the image, and `left` or `top` is at most 0.

    Args:
        box: (x1, y1, x2, y2), half open.
        image_size: (width, height).
        context: ≥ 1.
    """
    longest = max(box[2] - box[0], box[3] - box[1])
    side = max(math.ceil(longest), min(round(context * longest), min(image_size)))
    starts = []
    for low, high, length in zip(box[:2], box[2:], image_size, strict=True):
        start = round((low + high - side) / 2)
        starts.append(min(max(start, 0), length - side) if side <= length else -((side - length) // 2))
    return starts[0], starts[1], side


def cut(image: np.ndarray, window: tuple[int, int, int], size: int) -> np.ndarray:
    """The window of an image (H, W, 3) as (size, size, 3); what lies outside the image repeats its border pixels.

    Reduced by the box filter, enlarged bicubically: bilinear reduction without antialias would put an aliasing into
    the high-resolution set that its low-resolution version then inherits.
    """
    left, top, side = window
    height, width = image.shape[:2]
    inside = image[max(top, 0) : top + side, max(left, 0) : left + side]
    pads = (max(-top, 0), max(top + side - height, 0), max(-left, 0), max(left + side - width, 0))
    square = cv2.copyMakeBorder(inside, *pads, borderType=cv2.BORDER_REPLICATE)
    interpolation = cv2.INTER_AREA if side >= size else cv2.INTER_CUBIC
    return cv2.resize(square, (size, size), interpolation=interpolation)


def _cut_split(source: Path, target: Path, split: str, classes: list[str], options: CropOptions) -> dict:
    for name in classes:  # also where a split lacks a class: image-folder readers number the folders they find
        (target / split / name).mkdir(parents=True)
    dataset = PDVOCDataset(
        data_root=str(source),
        ann_file=f'ImageSets/Main/{split}.txt',
        data_prefix=dict(sub_data_root=''),
        metainfo=dict(classes=tuple(classes)),
        test_mode=True,
    )
    crops = Counter(dict.fromkeys(classes, 0))
    left_out = Counter({reason: len(ids) for reason, ids in dataset.report.dropped.items()})
    padded = enlarged = 0
    for index in range(len(dataset)):
        info = dataset.get_data_info(index)
        image = _read_image(Path(info['img_path']))
        for number, instance in enumerate(info['instances']):
            x1, y1, x2, y2 = instance['bbox']
            box = (x1, y1, min(x2 + 1, info['width']), min(y2 + 1, info['height']))
            if instance['ignore_flag']:
                left_out['difficult'] += 1
            elif max(box[2] - box[0], box[3] - box[1]) < options.min_side:
                left_out[f'longest side under {options.min_side} px'] += 1
            else:
                window = crop_window(box, (info['width'], info['height']), options.context)
                name = classes[instance['bbox_label']]
                path = target / split / name / f'{info["img_id"]}_{number}.jpg'
                _write_jpeg(path, cut(image, window, options.size))
                crops[name] += 1
                padded += window[2] > min(info['width'], info['height'])
                enlarged += window[2] < options.size
    return dict(images=len(dataset), crops=dict(crops), left_out=dict(left_out), padded=padded, enlarged=enlarged)


def _read_splits(source: Path) -> dict[str, list[str]]:
    folder = source / 'ImageSets' / 'Main'
    splits = {s: read_split(folder / f'{s}.txt') for s in SPLITS if s == 'train' or (folder / f'{s}.txt').exists()}
    seen: dict[str, str] = {}
    for split, ids in splits.items():
        for image_id in ids:
            if image_id in seen:
                raise DataError(f'image {image_id} is in the splits {seen[image_id]} and {split} of {folder}')
            seen[image_id] = split
    return splits


def _class_names(source: Path, splits: dict[str, list[str]]) -> list[str]:
    """Sorted names of all classes of all splits; each will be a folder."""
    names = set()
    for image_id in (i for ids in splits.values() for i in ids):
        path = source / 'Annotations' / f'{image_id}.xml'
        for item in read_voc_xml(path).objects:
            if item.name != Path(item.name).name or item.name.startswith('.'):
                raise DataError(f'annotation {path}: class {item.name!r} cannot be the name of a folder; rename it')
            names.add(item.name)
    return sorted(names)


def _fingerprint(source: Path, splits: dict[str, list[str]]) -> str:
    """Hash of the split lists, annotations, and sizes of the images: changes when any box does."""
    digest = hashlib.sha256()
    for split, ids in splits.items():
        digest.update(f'{split}:{len(ids)};'.encode())
        for image_id in ids:
            annotation = source / 'Annotations' / f'{image_id}.xml'
            if not annotation.is_file():
                raise DataError(f'annotation {annotation} does not exist; leave its id out of the split {split}')
            image_bytes = find_image(source / 'JPEGImages', image_id).stat().st_size
            digest.update(f'{image_id}:{image_bytes};'.encode())
            digest.update(hashlib.sha256(annotation.read_bytes()).digest())
    return digest.hexdigest()


def _read_existing(target: Path, marker: dict) -> dict | None:
    """The finished set in `target`, None where the folder is absent or empty."""
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return None
    try:
        existing = json.loads((target / MARKER).read_text())
    except (OSError, ValueError) as error:
        raise DataError(f'{target} exists and is no set of crops ({MARKER}: {error}); choose another folder') from error
    differing = [key for key in marker if not isinstance(existing, dict) or existing.get(key) != marker[key]]
    if differing:
        raise DataError(
            f'{target} holds crops made with other {", ".join(differing)}; delete it or choose another folder'
        )
    return existing


def _read_image(path: Path) -> np.ndarray:
    """(H, W, 3) BGR uint8, EXIF orientation applied, as the detection pipeline reads it."""
    image = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise DataError(f'image {path} cannot be decoded; replace it or leave its id out of the split')
    return image


def _write_jpeg(path: Path, image: np.ndarray) -> None:
    path.write_bytes(cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1].tobytes())
