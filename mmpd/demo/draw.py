"""The demo's data: a small VOC-layout set, drawn with NumPy and OpenCV, the same pixels for the same seed.

Blood smears: crowded red cells, some of them infected (a dark dot inside), a few large white cells with a lobed
nucleus, and platelets. At HR the dot and the platelets are plain to see; at a quarter of the side a dot is one pixel
and a platelet two, so a low-resolution detector loses something that a high-resolution one can teach.
"""

import json
import os
import shutil
from pathlib import Path

import cv2
import numpy as np

from ..data.voc.annotation import VOCObject, write_voc_xml
from ..errors import DataError

CLASSES = ('red', 'infected', 'white', 'platelet')
MARKER = 'demo_set.json'
_VERSION = 3
_SUPERSAMPLE = 4
_SIDES = {'red': (18, 26), 'infected': (18, 26), 'white': (34, 48), 'platelet': (7, 11)}  # HR pixels
_COUNTS = {'red': (6, 12), 'infected': (2, 5), 'white': (0, 2), 'platelet': (2, 5)}  # in an image of 256×192
_MAX_COVERED = 0.25  # share of an object that later ones may hide, each


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
    objects: list[VOCObject] = []
    crowd = size[0] * size[1] / (256 * 192)
    counts = {name: round(crowd * rng.integers(low, high + 1)) for name, (low, high) in _COUNTS.items()}
    names = [name for name in CLASSES for _ in range(max(counts[name], name == 'red'))]
    for name in sorted(
        names, key=lambda name: _SIDES[name][1], reverse=True
    ):  # small ones on top: none is hidden whole
        mask, colour = _draw_cell(rng, name)
        placed = _place(rng, mask, owner, areas)
        if placed is None:
            continue
        y, x = placed
        window = (slice(y, y + mask.shape[0]), slice(x, x + mask.shape[1]))
        image[window] = image[window] * (1 - mask[..., None]) + colour * mask[..., None]
        owner[window][mask > 0.5] = len(areas)
        areas.append(int((mask > 0.5).sum()))
        objects.append(VOCObject(name, (x + 1.0, y + 1.0, float(x + mask.shape[1]), float(y + mask.shape[0]))))
    image = cv2.GaussianBlur(image, (0, 0), 0.5) + 4 * rng.standard_normal(image.shape, np.float32)
    return np.clip(image, 0, 255).astype(np.uint8), objects


def _background(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """A bright smear, lit unevenly, with soft stains; float32 BGR."""
    image = np.full((height, width, 3), rng.uniform(195, 225) + rng.normal(0, 6, 3), np.float32)
    slope_x, slope_y = rng.uniform(-14, 14, (2, 3))
    image += (np.linspace(-1, 1, width)[None, :, None] * slope_x).astype(np.float32)
    image += (np.linspace(-1, 1, height)[:, None, None] * slope_y).astype(np.float32)
    for cell, strength in ((64, 7), (16, 4), (4, 3)):
        grid = rng.normal(0, strength, (height // cell + 2, width // cell + 2, 1)) * rng.uniform(0.7, 1.1, 3)
        noise = cv2.resize(grid.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
        image += np.asarray(noise, np.float32)
    return image


def _draw_cell(rng: np.random.Generator, name: str) -> tuple[np.ndarray, np.ndarray]:
    """One cell, cropped to its pixels: coverage 0..1 (h × w) and colour (h × w × 3, BGR), both float32."""
    low, high = _SIDES[name]
    side = float(rng.uniform(low, high))
    cells = int(np.ceil(side)) + 2
    canvas = cells * _SUPERSAMPLE
    axis = (np.arange(canvas) + 0.5) / _SUPERSAMPLE - cells / 2
    angle, stretch = rng.uniform(-np.pi, np.pi), rng.uniform(0.8, 1.0)
    u = (axis[None, :] * np.cos(angle) + axis[:, None] * np.sin(angle)) / (side / 2)
    v = (-axis[None, :] * np.sin(angle) + axis[:, None] * np.cos(angle)) / (side / 2 * stretch)
    inside, colour = _CELLS[name](rng, u, v)
    mask = cv2.resize(inside.astype(np.float32), (cells, cells), interpolation=cv2.INTER_AREA)
    colour = cv2.resize(colour.astype(np.float32), (cells, cells), interpolation=cv2.INTER_AREA)
    rows, columns = np.flatnonzero((mask > 0.5).any(1)), np.flatnonzero((mask > 0.5).any(0))
    window = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    return mask[window] * rng.uniform(0.8, 0.95), colour[window]


def _stain(rng: np.random.Generator, colour: tuple[int, int, int]) -> np.ndarray:
    return np.array(colour, np.float32) + rng.normal(0, 8, 3) + rng.normal(0, 8)


def _red(rng: np.random.Generator, u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A disc, pale in the middle."""
    radius = np.hypot(u, v)
    pale = 0.55 * np.clip(1 - radius / rng.uniform(0.45, 0.7), 0, 1)[..., None]
    return radius < 1, _stain(rng, (140, 130, 205)) * (1 - pale) + 215 * pale


def _infected(rng: np.random.Generator, u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A red cell with a parasite: a dark dot a quarter as wide as the cell, off the middle."""
    inside, colour = _red(rng, u, v)
    angle, away = rng.uniform(-np.pi, np.pi), rng.uniform(0.2, 0.5)
    dot = np.hypot(u - away * np.cos(angle), v - away * np.sin(angle)) < rng.uniform(0.24, 0.32)
    return inside, np.where(dot[..., None], _stain(rng, (110, 40, 80)), colour)


def _white(rng: np.random.Generator, u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A pale cell with a lobed, dark nucleus."""
    colour = np.broadcast_to(_stain(rng, (205, 175, 185)), (*u.shape, 3))
    nucleus = np.zeros(u.shape, bool)
    for _ in range(rng.integers(2, 5)):
        angle, away = rng.uniform(-np.pi, np.pi), rng.uniform(0.1, 0.45)
        nucleus |= np.hypot(u - away * np.cos(angle), v - away * np.sin(angle)) < rng.uniform(0.3, 0.45)
    return np.hypot(u, v) < 1, np.where(nucleus[..., None], _stain(rng, (135, 60, 105)), colour)


def _platelet(rng: np.random.Generator, u: np.ndarray, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A small granular fleck."""
    edge = 0.85 + 0.15 * np.cos(rng.integers(3, 6) * np.arctan2(v, u) + rng.uniform(0, 6))
    return np.hypot(u, v) < edge, np.broadcast_to(_stain(rng, (170, 90, 140)), (*u.shape, 3))


_CELLS = {'red': _red, 'infected': _infected, 'white': _white, 'platelet': _platelet}


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
