"""Preflight: what the annotation files of the splits say before a data set is built: names, images, overlap.

mmdet's CocoDataset numbers classes in the order of the file and drops a name that the file lacks, so all labels after
it move; it looks for an image when it is loaded, in mid-epoch.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mmengine.config import Config

from ..chain.datasets import class_names, leaves, moved_labels
from ..data.classes import read_coco
from ..data.voc.annotation import read_voc_xml
from ..data.voc.dataset import read_split
from ..data.yolo import split_images
from ..nested import bare_type
from .finding import Finding, error

SPLITS = ('train', 'val', 'test')
_EXAMPLES = 3
_MAX_READ = 5000


@dataclass(frozen=True)
class Listing:
    """What a data set's annotation file lists.

    Attributes:
        images: paths without extension: what makes two images the same. missing: files that do not exist.
        categories: class names in the order of the file; None where it has no such list.
        skipped: names in VOC annotations that the data set leaves out without a word, where it does.
    """

    images: frozenset[str]
    missing: tuple[str, ...] = ()
    categories: tuple[str, ...] | None = None
    skipped: frozenset[str] = frozenset()


def annotation_findings(config: Config) -> list[Finding]:
    """Wrong names, missing images and shared images of the splits of a stage, an ordinary mmengine config."""
    findings: list[Finding] = []
    images: dict[str, set[str]] = {}
    for split in SPLITS:
        images[split] = set()
        for part in leaves((config.get(f'{split}_dataloader') or {}).get('dataset') or {}):
            listing = read_listing(part)
            if listing is None:
                findings += _file_findings(part, split)
                continue
            images[split] |= listing.images
            findings += _name_findings(part, listing, split)
            if listing.missing:
                some = ', '.join(listing.missing[:_EXAMPLES])
                findings.append(
                    error(
                        f'data.{split}',
                        f'{len(listing.missing)} of {len(listing.images)} images of {part["ann_file"]} do not exist '
                        f'({some}): correct data_root and data_prefix, or leave them out of the file',
                    )
                )
    chosen = (config.get('default_hooks') or {}).get('checkpoint', {}).get('save_best')
    return [*findings, *_shared_images(images, bool(chosen))]


def _file_findings(part: dict, split: str) -> Iterator[Finding]:
    """A file of val or test that is not there: the one is read as a stage begins, the other when all have finished, and
    a path that is corrected then makes every stage another one. (That of train is read by the preflight.)"""
    path = os.path.join(part.get('data_root') or '', part.get('ann_file') or '')
    if split != 'train' and part.get('ann_file') and not part.get('backend_args') and not os.path.exists(path):
        yield error(f'data.{split}.ann_file', f'{path}: no such file')


def _shared_images(images: dict[str, set[str]], chosen: bool) -> Iterator[Finding]:
    for left, right, harm in (
        ('val', 'test', 'the checkpoint would be chosen on the test images'),
        ('train', 'val', 'the checkpoint would be chosen on the training images'),
        ('train', 'test', 'the test images would be trained on'),
    ):
        shared = sorted(images[left] & images[right])
        if shared and (chosen or 'chosen' not in harm):
            some = ', '.join(os.path.basename(path) for path in shared[:_EXAMPLES])
            yield error(
                f'data.{left}.ann_file and data.{right}.ann_file',
                f'{len(shared)} of {len(images[right])} images of data.{right} are in data.{left} too ({some}): '
                f'{harm}; name another split',
            )


def _name_findings(part: dict, listing: Listing, split: str) -> Iterator[Finding]:
    key, names = f'data.{split}.metainfo.classes', class_names(part, f'data.{split}')
    for name in listing.skipped:
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.8)
        if near:
            yield error(
                key,
                f'annotations of {part["ann_file"]} have the class {name!r}, which is left out; {near[0]!r} is near: '
                'write the names as they are in the annotations',
            )
    if listing.categories is None:
        return
    wrong = moved_labels(part, names, listing.categories)
    if wrong:
        yield error(key, wrong)


def read_listing(part: dict) -> Listing | None:
    """What the annotation file of a data set config lists; None where there is no such file or its kind is unknown.

    COCO files (`.json`), VOC's split files of ids (`.txt`) and YOLO's data.yaml are known.
    """
    if not part.get('ann_file'):
        return None
    root, prefix = part.get('data_root') or '', part.get('data_prefix') or {}
    path = os.path.join(root, part['ann_file'])
    if not os.path.isfile(path):
        return None
    if path.endswith('.json'):
        content = read_coco(path)
        if content.images is None:
            return None
        folder = os.path.join(root, prefix.get('img', prefix.get('img_path', '')))
        files = [os.path.abspath(os.path.join(folder, name)) for name in content.images]
        missing = tuple(file for file in files if not os.path.isfile(file))
        return Listing(frozenset(os.path.splitext(file)[0] for file in files), missing, content.categories)
    if bare_type(part) == 'PDYOLODataset':
        images = split_images(Path(path), part.get('split', 'train'))
        return Listing(frozenset(os.path.splitext(os.path.abspath(image))[0] for image in images))
    if path.endswith('.txt') and ('VOC' in bare_type(part) or bare_type(part) == 'XMLDataset'):
        return _voc_listing(part, path, os.path.join(root, prefix.get('sub_data_root', '')))
    return None


def _voc_listing(part: dict, path: str, root: str) -> Listing:
    """PDVOCDataset checks its own files and names; mmdet's VOC sets look for `.jpg` alone, and skip unknown names."""
    ids = read_split(path)
    folder = os.path.abspath(os.path.join(root, part.get('img_subdir', 'JPEGImages')))
    images = frozenset(os.path.join(folder, image_id) for image_id in ids)
    own = bare_type(part) == 'PDVOCDataset'
    if own and part.get('unknown_classes', 'error') == 'error':
        return Listing(images)
    missing = () if own else tuple(f'{image}.jpg' for image in sorted(images) if not os.path.isfile(f'{image}.jpg'))
    known = set(class_names(part, 'data'))
    files = (Path(root, part.get('ann_subdir', 'Annotations'), f'{image_id}.xml') for image_id in ids[:_MAX_READ])
    names = {item.name for file in files if file.is_file() for item in read_voc_xml(file).objects}
    return Listing(images, missing, skipped=frozenset(names - known))
