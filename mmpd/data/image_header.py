"""What an image file will decode to, found without decoding it.

A data set checks every file when it is built (about 0.1 ms each), so that a broken image is reported before training
and not in the third hour of it.
"""

import warnings
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from ..errors import DataError

EXTENSIONS = ('.jpg', '.jpeg', '.png', '.JPG', '.JPEG', '.PNG')
MIN_SIDE = 8
MAX_ASPECT = 100
_ORIENTATION_TAG = 0x0112
_TRANSPOSED = (5, 6, 7, 8)
_END_MARKS = {'JPEG': b'\xff\xd9', 'PNG': b'IEND'}


@dataclass(frozen=True)
class ImageHeader:
    """Sizes are (width, height) in pixels. `size` is what cv2 (so mmcv's loader) decodes to: EXIF orientation applied.
    `stored_size` is the size before that. `orientation` is the EXIF value that cv2 follows, 1 = upright.
    `transparent`: it has an alpha channel, or one transparent colour (tRNS), of which `mode` says nothing."""

    size: tuple[int, int]
    stored_size: tuple[int, int]
    orientation: int
    mode: str
    transparent: bool


def find_image(folder: Path, image_id: str) -> Path:
    """The image of an id: `<id>.jpg`, or another of EXTENSIONS. Raises DataError where none exists."""
    for extension in EXTENSIONS:
        path = folder / f'{image_id}{extension}'
        if path.is_file():
            return path
    raise DataError(f'image {folder / image_id}.jpg does not exist (nor with {", ".join(EXTENSIONS[1:])})')


def read_image_header(path: Path) -> ImageHeader:
    """Read the header and the last bytes of an image.

    Raises:
        DataError: naming the file: empty, no image, cut off, more pixels than Pillow's limit against decompression
            bombs, a side under MIN_SIDE pixels, one side more than MAX_ASPECT times the other (scaled to a network's
            input the short side would have no pixel left).
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', Image.DecompressionBombWarning)
            with Image.open(path) as image:
                stored_size, mode, file_format = (image.size, image.mode, image.format or '')
                transparent = image.has_transparency_data
                # Without the guard Pillow decodes a whole PNG to look for EXIF behind the pixels. cv2 turns no WebP.
                exif = image.getexif() if 'exif' in image.info and file_format != 'WEBP' else {}
    except Image.DecompressionBombError as error:
        raise DataError(f'image {path} is too large to decode safely: {error}') from error
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError) as error:
        state = (
            'is empty (0 bytes)' if path.is_file() and path.stat().st_size == 0 else f'is no readable image: {error}'
        )
        raise DataError(f'image {path} {state}. Replace it or leave its id out of the split.') from error
    _check_end(path, file_format)
    _check_sides(path, stored_size)
    orientation = exif.get(_ORIENTATION_TAG, 1)
    size = stored_size[::-1] if orientation in _TRANSPOSED else stored_size
    return ImageHeader(size, stored_size, orientation, mode, transparent)


def _check_end(path: Path, file_format: str) -> None:
    """A file that was cut off has a good header; look for its end mark, and decode it only where there is none."""
    mark = _END_MARKS.get(file_format)
    with path.open('rb') as file:
        file.seek(max(path.stat().st_size - 4096, 0))
        if mark is not None and mark in file.read():
            return
    if cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR) is None:
        raise DataError(f'image {path} cannot be decoded: it is cut off or damaged. Replace it or leave its id out.')


def _check_sides(path: Path, size: tuple[int, int]) -> None:
    short, long = sorted(size)
    if short < MIN_SIDE or long > MAX_ASPECT * short:
        raise DataError(
            f'image {path} has {size[0]} × {size[1]} pixels; at least {MIN_SIDE} on each side and at most '
            f'{MAX_ASPECT}:1 are needed. Leave its id out of the split.'
        )


def to_displayed(box: tuple[float, ...], header: ImageHeader) -> tuple[float, float, float, float]:
    """Turn a box in the stored frame into the displayed frame, for the transposing orientations 5–8.

    `box` is (x1, y1, x2, y2), 0-based with both corners inside the object, as mmdet's VOC boxes are.
    """
    x1, y1, x2, y2 = box
    right, bottom = header.stored_size[0] - 1, header.stored_size[1] - 1
    if header.orientation in (7, 8):
        x1, x2 = right - x2, right - x1
    if header.orientation in (6, 7):
        y1, y2 = bottom - y2, bottom - y1
    return y1, x1, y2, x2
