"""A chain config for a data set of one's own, after a look at it (`mmpd init`)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError

SPLITS = ('train', 'val', 'test')
SMALL = 10  # percentile of a class's sides that is called its smallest: below it are often labelling errors
FINEST = {'fine': 16.0, 'cheap': 32.0}  # side of RetinaNet's smallest anchor in the student's pyramid, LR pixels
MAX_SIDE, MAX_SIDE_CPU = 1333, 320  # of HR images


@dataclass(frozen=True)
class Layout:
    """What kind of data set a folder holds.

    Attributes:
        kind: 'coco', 'yolo' or 'voc': the name of a config in `_base_`, but for VOC.
        root: the folder. splits: config of each split that is there, keys of the data set besides `data_root`.
    """

    kind: str
    root: Path
    splits: dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Look:
    """What was seen in the training set: class names, image sizes (n, 2) and box sides (m, 2), both (width, height) in
    pixels of the files, and the boxes' labels (m,); HR images are to be no larger than `max_side`."""

    classes: tuple[str, ...]
    images: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    max_side: int = MAX_SIDE

    @property
    def counts(self) -> dict[str, int]:
        """Class → number of boxes."""
        return dict(zip(self.classes, np.bincount(self.labels, minlength=len(self.classes)).tolist(), strict=True))

    @property
    def hr_scale(self) -> tuple[int, int]:
        """(width, height) of HR images: the medians of the longer and of the shorter side, the longer one at most
        `max_side`, lying as most images do."""
        short, long = np.median(np.sort(self.images, axis=1), axis=0)
        factor = min(1.0, self.max_side / long)
        size = round(long * factor), round(short * factor)
        return size if (self.images[:, 0] >= self.images[:, 1]).mean() >= 0.5 else size[::-1]

    @property
    def sides(self) -> np.ndarray:
        """√(w·h) of the boxes (m,), HR pixels."""
        return np.sqrt(self.boxes.prod(axis=1)) * max(self.hr_scale) / np.median(self.images.max(axis=1))

    @property
    def smallest(self) -> tuple[str, float]:
        """The class with the smallest objects, and the SMALL percentile of its sides, HR pixels.

        By class: where one class is small and rare, a percentile of all boxes does not see it.
        """
        by_class = {
            name: float(np.percentile(self.sides[self.labels == label], SMALL))
            for label, name in enumerate(self.classes)
            if (self.labels == label).any()
        }
        name = min(by_class, key=by_class.__getitem__)
        return name, by_class[name]


def find_layout(root: str | Path) -> Layout:
    """Tell the layout of a data set from its files.

    Raises:
        DataError: no folder, or none of the three layouts.
    """
    root = Path(root)
    if not root.is_dir():
        raise DataError(f'{root} is no folder: name the one that holds the data set')
    if (root / 'data.yaml').is_file():
        from ..data.classes import read_yaml

        content = read_yaml(root / 'data.yaml')
        return Layout('yolo', root, {split: dict(split=split) for split in SPLITS if content.get(split)})
    for part in (root, *sorted(path for path in root.iterdir() if path.is_dir())):
        lists = {split: part / 'ImageSets' / 'Main' / f'{split}.txt' for split in SPLITS}
        if (part / 'Annotations').is_dir() and lists['train'].is_file():
            found = {split: dict(ann_file=f'ImageSets/Main/{split}.txt') for split in SPLITS if lists[split].is_file()}
            return Layout('voc', part, found)
    coco = _coco_splits(root)
    if coco:
        return Layout('coco', root, coco)
    raise DataError(
        f'{root} holds none of the known layouts: a data.yaml (YOLO), Annotations/ and ImageSets/Main/train.txt (VOC), '
        'or COCO JSON files whose names say train, val, test; see docs/data.md'
    )


def _coco_splits(root: Path) -> dict[str, dict[str, Any]]:
    """COCO files by the split that their path names, with the folder in which their first image lies."""
    splits: dict[str, dict[str, Any]] = {}
    for path in sorted((*root.glob('*.json'), *root.glob('*/*.json'))):
        names = [split for split in SPLITS if split in str(path.relative_to(root)).lower().replace('valid', 'val')]
        if len(names) != 1 or names[0] in splits:
            continue
        content = json.loads(path.read_text(encoding='utf-8'))
        if not isinstance(content, dict) or not content.get('images') or 'categories' not in content:
            continue
        first = content['images'][0]['file_name']
        places = [root, path.parent, *sorted(folder for folder in root.glob('**/') if names[0] in folder.name.lower())]
        places += [root / 'images', root / 'images' / names[0]]
        folder = next((place for place in places if (place / first).is_file()), None)
        if folder is None:
            raise DataError(f'{path}: its first image, {first!r}, is in none of {[str(place) for place in places]}')
        prefix = '' if folder == root else f'{folder.relative_to(root)}/'
        splits[names[0]] = dict(ann_file=str(path.relative_to(root)), data_prefix=dict(img=prefix))
    return {split: splits[split] for split in SPLITS if split in splits}


def look(layout: Layout, cpu: bool = False) -> Look:
    """Read the training set's annotations.

    Args:
        cpu: as `chain_text`.

    Raises:
        DataError: no training split, or as the data set does; a VOC class list is read from the files.
    """
    if 'train' not in layout.splits:
        raise DataError(f'{layout.root} has no training split, only {list(layout.splits)}')
    from mmdet.registry import DATASETS

    from .datasets import class_names

    config = dict(data_root=f'{layout.root}/', **layout.splits['train'])
    if layout.kind == 'voc':
        config.update(type='PDVOCDataset', metainfo=dict(classes=_voc_names(layout)))
    else:
        config['type'] = 'PDYOLODataset' if layout.kind == 'yolo' else 'CocoDataset'
    classes = class_names(config, 'data.train')
    dataset = DATASETS.build({**config, 'metainfo': dict(classes=classes), 'pipeline': [], 'test_mode': True})
    images, boxes, labels = [], [], []
    for index in range(len(dataset)):
        info = dataset.get_data_info(index)
        images.append((info['width'], info['height']))
        for item in info['instances']:
            x1, y1, x2, y2 = item['bbox']
            boxes.append((x2 - x1, y2 - y1))
            labels.append(item['bbox_label'])
    if not boxes:
        raise DataError(f'the training split of {layout.root} holds no object')
    sizes = np.array(images, float)
    return Look(classes, sizes, np.array(boxes, float), np.array(labels), MAX_SIDE_CPU if cpu else MAX_SIDE)


def _voc_names(layout: Layout) -> tuple[str, ...]:
    """Class names in the XML files of the training split, by their first appearance."""
    from ..data.voc.annotation import read_voc_xml
    from ..data.voc.dataset import read_split

    names: dict[str, None] = {}
    for image_id in read_split(layout.root / layout.splits['train']['ann_file']):
        xml = layout.root / 'Annotations' / f'{image_id}.xml'
        names.update(dict.fromkeys(item.name for item in read_voc_xml(xml).objects))
    return tuple(names)


def chain_text(layout: Layout, seen: Look, ratio: int, cpu: bool = False) -> str:
    """The chain config, as the text of a file: short, and nothing in it that a base has.

    Args:
        cpu: two narrow networks from scratch in the place of ResNet-50 → ResNet-18 → ResNet-18.
    """
    splits = {split: layout.splits.get(split) or layout.splits.get('val') for split in SPLITS}
    common = dict(data_root=f'{layout.root.resolve()}/')
    kinds = dict(voc='PDVOCDataset', coco='CocoDataset', yolo='PDYOLODataset')
    if layout.kind == 'voc':
        common['metainfo'] = f'dict(classes={seen.classes!r})'
    missing = [split for split in ('val', 'test') if split not in layout.splits]
    name, side = seen.smallest
    pyramid = 'fine' if side / ratio < 2 * FINEST['cheap'] else 'cheap'
    lines = [
        f'# Written by `mmpd init`: {len(seen.images)} training images, {len(seen.boxes)} boxes, {len(seen.classes)} '
        'classes.',
        *([f'# No split {", ".join(missing)}: replace it before you trust a number.'] if missing else []),
        "_base_ = ['mmpd::_base_/schedule.py', 'mmpd::_base_/runtime.py']",
        '',
        f'# LR images of {round(seen.hr_scale[0] / ratio)}×{round(seen.hr_scale[1] / ratio)}; a tenth of the class '
        f'{name} is under {side / ratio:.1f} of their pixels wide.',
        f'ratio = {ratio}',
        f'student_pyramid = {pyramid!r}',
        'common = dict(',
        f'    type={kinds[layout.kind]!r},',
        *(f'    {key}={value if key == "metainfo" else repr(value)},' for key, value in common.items()),
        ')',
        'data = dict(',
        *(f'    {split}=dict(**common, {_keywords(splits[split] or layout.splits["train"])}),' for split in SPLITS),
        f'    hr_scale={seen.hr_scale},',
        "    augment=[dict(type='RandomFlip', prob=0.5)],",
        f'    batch_size={4 if cpu else 8},',
        '    num_workers=2,',
        ')',
        'terms = dict(',
        "    feature=dict(type='FeatureTerm', loss_weight=1.0),",
        "    response=dict(type='ResponseTerm', loss_weight=1.0),",
        ')',
        *(_cpu_stages if cpu else _stages)(anchor_scales(seen, ratio, pyramid)),
        'del common',
    ]
    return '\n'.join(lines) + '\n'


def _stages(anchors: str | None) -> list[str]:
    """The chain of the paper, from ImageNet weights."""
    return [
        "r50 = 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'",
        "r18 = 'mmdet::retinanet/retinanet_r18_fpn_1x_coco.py'",
        f'anchors = dict(bbox_head=dict(anchor_generator={anchors}))' if anchors else 'anchors = {}',
        'stages = dict(',
        "    teacher=dict(detector=r50, overrides=anchors, size='hr'),",
        "    assistant=dict(detector=r18, overrides=anchors, size='hr', guide='teacher', terms=terms),",
        '    student=dict(',
        "        detector=r18, overrides=anchors, size='lr', guide='assistant', init_from='guide', terms=terms",
        '    ),',
        ')',
    ]


def _cpu_stages(anchors: str | None) -> list[str]:
    """What trains in minutes without a GPU, as `pd_bccd.py` does."""
    return [
        '# Sized for a CPU: half-width networks from scratch, and no teacher that is larger than the HR network.',
        'pretrained = False',
        'guide_cache = 2048  # MiB; flips are the only augmentation, so every guide output comes back',
        'schedule = dict(max_epochs=20, warmup_iters=100, val_interval=5)',
        'optim_wrapper = dict(',
        '    _delete_=True,',
        "    type='OptimWrapper',",
        "    optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05),",
        '    clip_grad=dict(max_norm=10, norm_type=2),',
        ')',
        "r18 = 'mmdet::retinanet/retinanet_r18_fpn_1x_coco.py'",
        f'anchors = dict(anchor_generator={anchors})' if anchors else 'anchors = {}',
        'narrow = dict(',
        '    backbone=dict(base_channels=32),',
        '    neck=dict(in_channels=[32, 64, 128, 256], out_channels=64),',
        '    bbox_head=dict(in_channels=64, feat_channels=64, stacked_convs=2, **anchors),',
        ')',
        'stages = dict(',
        "    assistant=dict(detector=r18, overrides=narrow, size='hr'),",
        '    student=dict(',
        "        detector=r18, overrides=narrow, size='lr', guide='assistant', init_from='guide', terms=terms",
        '    ),',
        ')',
    ]


def anchor_scales(seen: Look, ratio: int, pyramid: str) -> str | None:
    """Smaller anchors than RetinaNet's where the smallest objects need them, as the text of a config; else None.

    An anchor finds objects down to 1 / √2 of its side (there IoU is 0.5).
    """
    smallest, finest = seen.smallest[1] / ratio, FINEST[pyramid]
    if smallest >= finest / 2**0.5:
        return None
    first = max(4.0 * smallest * 2**0.5 / finest, 1.0)
    scales = [round(first * 2 ** (step / 3), 2) for step in range(4)]
    return f'dict(octave_base_scale=None, scales_per_octave=None, scales={scales})'


def _keywords(config: dict[str, Any]) -> str:
    return ', '.join(f'{key}={value!r}' for key, value in config.items())


def advice(seen: Look, ratios: Sequence[int] = (2, 4)) -> list[str]:
    """What the look says, a line each."""
    width, height = seen.hr_scale
    rare = [name for name, count in seen.counts.items() if count < 20]
    lines = [
        f'{len(seen.classes)} classes: {", ".join(seen.classes[:8])}{", …" if len(seen.classes) > 8 else ""}',
        f'{len(seen.images)} training images, HR {width}×{height}; {len(seen.boxes)} boxes, '
        f'{len(seen.boxes) / max(len(seen.images), 1):.1f} an image',
    ]
    for ratio in ratios:
        tiny = float((seen.sides / ratio < 4).mean())
        name, side = seen.smallest
        lines.append(
            f'ratio {ratio}: {round(width / ratio)}×{round(height / ratio)}; the middle object is '
            f'{np.median(seen.sides) / ratio:.1f} LR pixels wide, a tenth of {name} under {side / ratio:.1f}; '
            f'{tiny:.0%} of all boxes under 4'
        )
    if rare:
        lines.append(f'fewer than 20 boxes: {", ".join(rare[:8])}')
    return lines
