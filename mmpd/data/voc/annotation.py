"""PASCAL VOC annotation files: a reader that trusts nothing, and a writer.

Coordinates here are those of the file: pixels of the original image, the first pixel is 1 and both corners belong to
the object. The data set (mmpd.data.voc.dataset) converts them.
"""

import math
import xml.etree.ElementTree as ElementTree
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import defusedxml.ElementTree
from defusedxml.common import DefusedXmlException

from ...errors import DataError

CORNERS = ('xmin', 'ymin', 'xmax', 'ymax')


@dataclass(frozen=True)
class VOCObject:
    """One `<object>`: class name, (xmin, ymin, xmax, ymax) as written in the file, and the VOC flag difficult."""

    name: str
    box: tuple[float, float, float, float]
    difficult: bool = False


@dataclass(frozen=True)
class VOCAnnotation:
    """One file. `size` is (width, height) in pixels, None where the file gives none (or 0 × 0, as some tools write)."""

    size: tuple[int, int] | None
    objects: tuple[VOCObject, ...]


def read_voc_xml(path: str | Path) -> VOCAnnotation:
    """Read one annotation file.

    Entities and external references are refused (defusedxml): an annotation file comes from elsewhere and must neither
    read other files nor expand to gigabytes.

    Raises:
        DataError: naming the file and what is wrong: unreadable, not XML, refused entities, an object without name or
            box, a coordinate or size that is no finite number.
    """
    try:
        root = defusedxml.ElementTree.fromstring(Path(path).read_bytes())
    except OSError as error:
        raise DataError(
            f'annotation {path} cannot be read: {error.strerror}. Leave its id out of the split.'
        ) from error
    except DefusedXmlException as error:
        raise DataError(f'annotation {path} is refused, it declares XML entities ({error}). Remove them.') from error
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise DataError(f'annotation {path} is not well-formed XML: {error}') from error
    if root.tag.lower() != 'annotation':
        raise DataError(f'annotation {path} is no VOC file: its root is <{root.tag[:40]}>, not <annotation>')
    try:
        return VOCAnnotation(_read_size(root), tuple(_read_object(node) for node in root.findall('object')))
    except DataError as error:
        raise DataError(f'annotation {path}: {error}') from error


def _read_size(root: ElementTree.Element) -> tuple[int, int] | None:
    node = root.find('size')
    if node is None:
        return None
    width, height = (int(_number(node, key)) for key in ('width', 'height'))
    return (width, height) if width > 0 and height > 0 else None


def _read_object(node: ElementTree.Element) -> VOCObject:
    name = _text(node, 'name')
    box = node.find('bndbox')
    if box is None:
        raise DataError(f'an object of class {name!r} has no <bndbox>')
    xmin, ymin, xmax, ymax = (_number(box, key) for key in CORNERS)
    difficult = node.find('difficult') is not None and _number(node, 'difficult') != 0
    return VOCObject(name, (xmin, ymin, xmax, ymax), difficult)


def _text(node: ElementTree.Element, key: str) -> str:
    text = (node.findtext(key) or '').strip()
    if not text:
        raise DataError(f'<{node.tag}> without <{key}>, or with an empty one')
    return text


def _number(node: ElementTree.Element, key: str) -> float:
    text = _text(node, key)
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError(f'<{key}> is {text[:40]!r}, which is no finite number')
    return value


def write_voc_xml(path: str | Path, filename: str, size: tuple[int, int], objects: Sequence[VOCObject]) -> None:
    """Write one annotation file that `read_voc_xml` reads back unchanged. `size` is (width, height) in pixels."""
    root = ElementTree.Element('annotation')
    ElementTree.SubElement(root, 'filename').text = filename
    size_node = ElementTree.SubElement(root, 'size')
    for key, value in zip(('width', 'height', 'depth'), (*size, 3), strict=True):
        ElementTree.SubElement(size_node, key).text = str(value)
    for item in objects:
        node = ElementTree.SubElement(root, 'object')
        ElementTree.SubElement(node, 'name').text = item.name
        ElementTree.SubElement(node, 'difficult').text = str(int(item.difficult))
        box_node = ElementTree.SubElement(node, 'bndbox')
        for key, corner in zip(CORNERS, item.box, strict=True):
            ElementTree.SubElement(box_node, key).text = repr(int(corner) if corner == int(corner) else float(corner))
    ElementTree.indent(root)
    Path(path).write_bytes(ElementTree.tostring(root, encoding='utf-8'))
