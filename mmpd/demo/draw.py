"""The demo's data: a small VOC-layout set, drawn with NumPy and OpenCV, the same pixels for the same seed.

Four classes that differ by shape or by pattern and never by colour, on textured backgrounds with distractors. Most
objects are 10–28 pixels wide: at a quarter of the side a pattern's cells shrink to a pixel or two, so a low-resolution
detector loses something that a high-resolution one can teach.
"""

import json
import os
import shutil
from pathlib import Path

import cv2
import numpy as np

from ..data.voc.annotation import VOCObject, write_voc_xml
from ..errors import DataError

CLASSES = ('ring', 'star', 'checker', 'stripes')
MARKER = 'demo_set.json'
_VERSION = 2
_SUPERSAMPLE = 4
_SIDE_SMALL, _SIDE_LARGE = (10, 28), (28, 72)  # longest side in HR pixels
_SHARE_SMALL = 0.65
_MAX_COVERED = 0.15  # share of an object that a later one may hide


def draw_demo_set(
    root: str | Path,
    seed: int = 0,
    n_train: int = 240,
    n_val: int = 40,
    n_test: int = 80,
    size: tuple[int, int] = (320, 240),
) -> Path:
    """Draw the set into `root` unless it is there already; an unfinished one never appears under that name.

    Args:
        root: folder to create, with `Annotations`, `JPEGImages` and `ImageSets/Main/{train,val,test}.txt`.
        seed: of all randomness; image i of a split depends on (seed, split, i) only.
        n_train, n_val, n_test: images per split.
        size: (width, height) of the images, in HR pixels.

    Raises:
        DataError: `root` exists, is not empty and was not drawn by this function.
    """
    root = Path(root)
    splits = {'train': n_train, 'val': n_val, 'test': n_test}
    made_with = {'version': _VERSION, 'seed': seed, 'splits': splits, 'size': list(size)}
    if _is_finished(root, made_with):
        return root
    part = root.with_name(f'{root.name}.part-{os.getpid()}')
    shutil.rmtree(part, ignore_errors=True)
    for folder in ('Annotations', 'JPEGImages', 'ImageSets/Main'):
        (part / folder).mkdir(parents=True)
    for split_index, (split, count) in enumerate(splits.items()):
        ids = [f'{split}_{i:04d}' for i in range(count)]
        for i, image_id in enumerate(ids):
            image, objects = draw_image(np.random.default_rng([seed, split_index, i]), size)
            cv2.imwrite(str(part / 'JPEGImages' / f'{image_id}.jpg'), image, [cv2.IMWRITE_JPEG_QUALITY, 90])
            write_voc_xml(part / 'Annotations' / f'{image_id}.xml', f'{image_id}.jpg', size, objects)
        (part / 'ImageSets/Main' / f'{split}.txt').write_text(''.join(f'{image_id}\n' for image_id in ids))
    (part / MARKER).write_text(json.dumps(made_with))
    try:
        shutil.rmtree(root, ignore_errors=True)
        part.rename(root)
    except OSError:  # another process was faster
        shutil.rmtree(part, ignore_errors=True)
        if not _is_finished(root, made_with):
            raise
    return root


def _is_finished(root: Path, made_with: dict) -> bool:
    """True: the set is there. False: draw it. A folder with other content is nobody's to overwrite: DataError."""
    marker = root / MARKER
    if marker.is_file():
        return json.loads(marker.read_text()) == made_with
    if root.exists() and any(root.iterdir()):
        raise DataError(f'{root} holds something else than a demo set; name another folder or delete it')
    return False


def draw_image(rng: np.random.Generator, size: tuple[int, int]) -> tuple[np.ndarray, list[VOCObject]]:
    """One image, H × W × 3 uint8 BGR, with its objects (VOC coordinates: the first pixel is 1, both corners inside)."""
    image = _background(rng, *size)
    owner = np.full(image.shape[:2], -1)  # index of the object a pixel shows
    areas: list[int] = []
    boxes: list[tuple[int, int, int, int]] = []
    names: list[str] = []
    for _ in range(rng.integers(8, 15)):
        name = str(rng.choice(CLASSES))
        mask, tone = _draw_object(rng, name)
        placed = _place(rng, mask, owner, areas)
        if placed is None:
            continue
        y, x = placed
        window = (slice(y, y + mask.shape[0]), slice(x, x + mask.shape[1]))
        image[window] = _paint(rng, image[window], mask, tone)
        owner[window][mask > 0.5] = len(areas)
        areas.append(int((mask > 0.5).sum()))
        boxes.append((x + 1, y + 1, x + mask.shape[1], y + mask.shape[0]))
        names.append(name)
    image = cv2.GaussianBlur(image, (0, 0), 0.5) + 4 * rng.standard_normal(image.shape, np.float32)
    objects = [VOCObject(name, tuple(map(float, box))) for name, box in zip(names, boxes, strict=True)]  # type: ignore[arg-type]
    return np.clip(image, 0, 255).astype(np.uint8), objects


def _background(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """Noise at several scales over a gradient, with strokes and arcs that look like pieces of objects; float32."""
    image = np.full((height, width, 3), rng.uniform(70, 180, 3), np.float32)
    slope_x, slope_y = rng.uniform(-40, 40, (2, 3))
    image += (np.linspace(-1, 1, width)[None, :, None] * slope_x).astype(np.float32)
    image += (np.linspace(-1, 1, height)[:, None, None] * slope_y).astype(np.float32)
    for cell, strength in ((80, 28), (32, 16), (12, 9), (4, 6)):
        grid = rng.normal(0, strength, (height // cell + 2, width // cell + 2, 1)) * rng.uniform(0.6, 1.2, 3)
        noise = cv2.resize(grid.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
        image += np.asarray(noise, np.float32)
    mean_colour = image.mean((0, 1))
    for _ in range(rng.integers(8, 16)):
        colour = (mean_colour + rng.normal(0, 45, 3)).tolist()
        x, y = int(rng.integers(width)), int(rng.integers(height))
        thickness = int(rng.integers(1, 4))
        if rng.random() < 0.5:
            end = (x + int(rng.integers(-70, 71)), y + int(rng.integers(-70, 71)))
            cv2.line(image, (x, y), end, colour, thickness, cv2.LINE_AA)
        else:
            axes = (int(rng.integers(6, 50)), int(rng.integers(6, 50)))
            start = int(rng.integers(360))
            cv2.ellipse(image, (x, y), axes, start, 0, int(rng.integers(40, 160)), colour, thickness, cv2.LINE_AA)
    return image


def _draw_object(rng: np.random.Generator, name: str) -> tuple[np.ndarray, np.ndarray]:
    """One object, cropped to its pixels: coverage 0..1 and tone 0..1 (0 dark, 1 light), both h × w float32."""
    low, high = _SIDE_SMALL if rng.random() < _SHARE_SMALL else _SIDE_LARGE
    side = float(np.exp(rng.uniform(np.log(low), np.log(high))))
    cells = int(np.ceil(side)) + 2
    canvas = cells * _SUPERSAMPLE
    axis = (np.arange(canvas) + 0.5) / _SUPERSAMPLE - cells / 2
    angle = rng.uniform(-np.pi, np.pi) if name in ('ring', 'star') else rng.uniform(-0.4, 0.4)
    stretch = rng.uniform(0.8, 1.0)
    u = (axis[None, :] * np.cos(angle) + axis[:, None] * np.sin(angle)) / (side / 2)
    v = (-axis[None, :] * np.sin(angle) + axis[:, None] * np.cos(angle)) / (side / 2 * stretch)
    mask, tone = _SHAPES[name](u, v)
    mask, tone = (cv2.resize(a.astype(np.float32), (cells, cells), interpolation=cv2.INTER_AREA) for a in (mask, tone))
    rows, columns = np.flatnonzero((mask > 0.5).any(1)), np.flatnonzero((mask > 0.5).any(0))
    window = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    return mask[window], tone[window]


def _ring(u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    radius = np.hypot(u, v)
    return (radius < 1) & (radius > 0.5), np.ones_like(u)


def _star(u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    turn = np.abs((np.arctan2(v, u) / (2 * np.pi) * 5) % 1 - 0.5) * 2  # 0 between two points, 1 at a point
    return np.hypot(u, v) < 0.42 + 0.58 * turn**1.5, np.ones_like(u)


def _checker(u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    inside = np.maximum(np.abs(u), np.abs(v)) < 0.85
    return inside, (np.floor((u / 0.85 + 1) * 1.5) + np.floor((v / 0.85 + 1) * 1.5)) % 2


def _stripes(u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    inside = np.maximum(np.abs(u), np.abs(v)) < 0.85
    return inside, np.floor((v / 0.85 + 1) * 1.5) % 2


_SHAPES = {'ring': _ring, 'star': _star, 'checker': _checker, 'stripes': _stripes}


def _place(rng: np.random.Generator, mask: np.ndarray, owner: np.ndarray, areas: list[int]) -> tuple[int, int] | None:
    """A position (y, x) that hides at most _MAX_COVERED of every object so far; None: too large, or ten failures."""
    if mask.shape[0] > owner.shape[0] or mask.shape[1] > owner.shape[1]:
        return None
    solid = mask > 0.5
    for _ in range(10):
        y, x = (int(rng.integers(0, full - part + 1)) for full, part in zip(owner.shape, mask.shape, strict=True))
        hidden = owner[y : y + mask.shape[0], x : x + mask.shape[1]][solid]
        counts = np.bincount(hidden[hidden >= 0], minlength=len(areas))
        if all(count <= _MAX_COVERED * area for count, area in zip(counts, areas, strict=True)):
            return y, x
    return None


def _paint(rng: np.random.Generator, under: np.ndarray, mask: np.ndarray, tone: np.ndarray) -> np.ndarray:
    """Blend an object over `under`: two random colours, one well lighter and one well darker than the place.

    Plain shapes take either one, so that no class is always the lighter.
    """
    local = under.mean((0, 1))
    light = local + rng.uniform(45, 95) + rng.normal(0, 22, 3)
    dark = local - rng.uniform(45, 95) + rng.normal(0, 22, 3)
    if rng.random() < 0.5:
        light, dark = dark, light
    colour = tone[..., None] * light + (1 - tone[..., None]) * dark
    return under * (1 - mask[..., None]) + colour * mask[..., None]
