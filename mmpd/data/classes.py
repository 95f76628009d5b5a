"""Class names: as a config gives them (a tuple, or a text file with one name a line), or as COCO and YOLO files do."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from ..errors import ConfigError, DataError


def read_classes(classes: object, key: str = 'metainfo.classes') -> tuple[str, ...]:
    """Class names as a tuple, in label order.

    Args:
        classes: names, or the path of a text file with one name a line.
        key: the config key, for the error.

    Raises:
        ConfigError: no such file, no name, an empty name, a name twice.
    """
    if isinstance(classes, (str, Path)):
        if not Path(classes).is_file():
            raise ConfigError(
                f'{key} is the string {str(classes)!r}, and no such file exists; give a tuple: ({str(classes)!r},), or '
                'a text file with one name a line'
            )
        lines = Path(classes).read_text(encoding='utf-8-sig').splitlines()
        classes = [line.strip() for line in lines if line.strip()]
    if not isinstance(classes, (list, tuple)) or not classes or not all(isinstance(c, str) and c for c in classes):
        raise ConfigError(f'{key} is {classes!r}; give a tuple of class names')
    if len(set(classes)) < len(classes):
        raise ConfigError(f'{key} names a class twice: {classes!r}')
    return tuple(classes)


@dataclass(frozen=True)
class CocoFile:
    """What a COCO file lists: the names of its image files and of its categories, each in its order; None: no such
    list."""

    images: tuple[str, ...] | None
    categories: tuple[str, ...] | None


def read_coco(path: str | Path) -> CocoFile:
    """Read once as long as the file does not change: a chain and its preflight ask many times.

    Raises:
        DataError: no JSON.
    """
    return _read_coco(str(path), Path(path).stat().st_mtime_ns)


@lru_cache(maxsize=8)
def _read_coco(path: str, changed: int) -> CocoFile:
    try:
        content: Any = json.loads(Path(path).read_text(encoding='utf-8'))
    except ValueError as error:
        raise DataError(f'{path} (config key `ann_file`) is no JSON: {error}') from error
    content = content if isinstance(content, dict) else {}
    images, categories = content.get('images'), content.get('categories')
    named = images and all('file_name' in image for image in images)
    return CocoFile(
        tuple(str(image['file_name']) for image in images) if named else None,
        tuple(str(category['name']) for category in categories) if categories else None,
    )


def coco_classes(data_root: str | None, ann_file: str) -> tuple[str, ...] | None:
    """The category names of a COCO file, in its order; None where there is no such file, or none in it."""
    path = Path(data_root or '', ann_file)
    return read_coco(path).categories if ann_file and path.is_file() else None


def read_yaml(path: Path) -> dict:
    """A data.yaml. Raises DataError: missing, no YAML, or no mapping."""
    try:
        content = yaml.safe_load(path.read_text(encoding='utf-8'))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = error.strerror if isinstance(error, OSError) else f'it is no YAML ({error})'
        raise DataError(f'{path} (config key `ann_file`) cannot be read: {reason}') from error
    if not isinstance(content, dict):
        raise DataError(f'{path} (config key `ann_file`) holds no keys; a YOLO data.yaml has names, train, val')
    return content


def yolo_classes(data_root: str | None, ann_file: str) -> tuple[str, ...]:
    """The class names of a data.yaml, in the order of their indices.

    Raises:
        DataError: no `names`, or indices that are not 0 … n − 1.
    """
    path = Path(data_root or '', ann_file)
    names = read_yaml(path).get('names')
    if isinstance(names, dict):
        if sorted(names) != list(range(len(names))):
            raise DataError(f'names in {path} has the indices {sorted(names)}: number the classes from 0 without a gap')
        names = [names[index] for index in range(len(names))]
    if not isinstance(names, list) or not names:
        raise DataError(f'names in {path} is {names!r}: give the class names as a list')
    return tuple(str(name) for name in names)
