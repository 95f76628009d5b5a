"""What a run writes: pictures, COCO JSON, VOC XML, YOLO text, CSV. Boxes are x1, y1, x2, y2 in pixels of the file."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np

from .detector import Prediction
from .images import write_image
from .inputs import Item

# Told apart with any colour vision, and on light and dark ground (the Okabe-Ito palette without black), RGB.
COLOURS = ((230, 159, 0), (86, 180, 233), (240, 228, 66), (213, 94, 0), (204, 121, 167), (0, 158, 115), (0, 114, 178))


class Writer:
    """One format. `add` is called once for each image, `close` once at the end.

    Args:
        folder: where the format's files go; made when the first is written.
        classes: names by label.
    """

    def __init__(self, folder: Path, classes: Sequence[str]) -> None:
        self.folder = folder
        self.classes = classes

    def add(self, item: Item, image: np.ndarray, found: Prediction) -> None:
        raise NotImplementedError

    def close(self) -> None:
        """Nothing, for formats with one file per image."""

    def name_of(self, label: int) -> str:
        return self.classes[label] if label < len(self.classes) else f'class {label}'

    def file(self, item: Item, suffix: str) -> Path:
        path = self.folder / f'{item.name}{suffix}'
        path.parent.mkdir(parents=True, exist_ok=True)
        return path


class Pictures(Writer):
    """`pictures/<name>.png`: the image with its boxes."""

    def add(self, item: Item, image: np.ndarray, found: Prediction) -> None:
        write_image(self.file(item, '.png'), draw(image, found, self.name_of))


class Coco(Writer):
    """`coco.json`: images, categories (from 1), annotations with `score`, as labelling tools read it."""

    def __init__(self, folder: Path, classes: Sequence[str]) -> None:
        super().__init__(folder, classes)
        self.images: list[dict] = []
        self.annotations: list[dict] = []

    def add(self, item: Item, image: np.ndarray, found: Prediction) -> None:
        height, width = image.shape[:2]
        self.images.append(dict(id=len(self.images) + 1, file_name=item.file, width=width, height=height))
        for box, score, label in zip(found.boxes.tolist(), found.scores.tolist(), found.labels.tolist(), strict=True):
            sides = [box[2] - box[0], box[3] - box[1]]
            self.annotations.append(
                dict(
                    id=len(self.annotations) + 1,
                    image_id=len(self.images),
                    category_id=label + 1,
                    bbox=[round(value, 3) for value in (*box[:2], *sides)],
                    area=round(sides[0] * sides[1], 3),
                    iscrowd=0,
                    score=round(score, 5),
                )
            )

    def close(self) -> None:
        categories = [dict(id=index, name=name) for index, name in enumerate(self.classes, 1)]
        content = dict(images=self.images, categories=categories, annotations=self.annotations)
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / 'coco.json').write_text(json.dumps(content, ensure_ascii=False), encoding='utf-8')


class Voc(Writer):
    """`voc/<name>.xml`: 1-based pixel corners as VOC has them, and `<confidence>`."""

    def add(self, item: Item, image: np.ndarray, found: Prediction) -> None:
        root = ElementTree.Element('annotation')
        ElementTree.SubElement(root, 'filename').text = Path(item.file).name
        size = ElementTree.SubElement(root, 'size')
        for key, value in zip(('width', 'height', 'depth'), (image.shape[1], image.shape[0], 3), strict=True):
            ElementTree.SubElement(size, key).text = str(value)
        for box, score, label in zip(found.boxes, found.scores, found.labels, strict=True):
            node = ElementTree.SubElement(root, 'object')
            ElementTree.SubElement(node, 'name').text = self.name_of(label)
            ElementTree.SubElement(node, 'difficult').text = '0'
            ElementTree.SubElement(node, 'confidence').text = f'{score:.5f}'
            corners = ElementTree.SubElement(node, 'bndbox')
            low = np.floor(box[:2]).astype(int) + 1
            high = np.maximum(np.ceil(box[2:]).astype(int), low)
            for key, value in zip(('xmin', 'ymin', 'xmax', 'ymax'), (*low, *high), strict=True):
                ElementTree.SubElement(corners, key).text = str(value)
        ElementTree.indent(root)
        self.file(item, '.xml').write_bytes(ElementTree.tostring(root, encoding='utf-8'))


class Yolo(Writer):
    """`yolo/<name>.txt`: `class cx cy w h score` a line, as fractions of the image; `classes.txt` with the names."""

    def add(self, item: Item, image: np.ndarray, found: Prediction) -> None:
        height, width = image.shape[:2]
        boxes = found.boxes / (width, height, width, height)
        centres, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]
        lines = [
            f'{label} ' + ' '.join(f'{value:.6f}' for value in (*centre, *side, score)) + '\n'
            for label, centre, side, score in zip(found.labels, centres, sides, found.scores, strict=True)
        ]
        self.file(item, '.txt').write_text(''.join(lines), encoding='utf-8')

    def close(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / 'classes.txt').write_text(''.join(f'{name}\n' for name in self.classes), encoding='utf-8')


class Csv(Writer):
    """`boxes.csv`: one detection a line, written as it is found."""

    def __init__(self, folder: Path, classes: Sequence[str]) -> None:
        super().__init__(folder, classes)
        folder.mkdir(parents=True, exist_ok=True)
        self.stream = open(folder / 'boxes.csv', 'w', newline='', encoding='utf-8')  # noqa: SIM115  (closed in close)
        self.rows = csv.writer(self.stream)
        self.rows.writerow(['image', 'class', 'score', 'x1', 'y1', 'x2', 'y2'])

    def add(self, item: Item, image: np.ndarray, found: Prediction) -> None:
        for box, score, label in zip(found.boxes, found.scores, found.labels, strict=True):
            numbers = [f'{value:.2f}' for value in box]
            self.rows.writerow([item.file, self.name_of(label), f'{score:.5f}', *numbers])

    def close(self) -> None:
        self.stream.close()


# Format → class, and its folder below the output folder.
FORMATS: dict[str, tuple[type[Writer], str]] = {
    'pictures': (Pictures, 'pictures'),
    'coco': (Coco, '.'),
    'voc': (Voc, 'voc'),
    'yolo': (Yolo, 'yolo'),
    'csv': (Csv, '.'),
}


def draw(image: np.ndarray, found: Prediction, name_of=str) -> np.ndarray:
    """A copy of an RGB image with its boxes, class names and scores. Small images are enlarged with hard pixels, so
    that the text can be read."""
    zoom = max(1, -(-480 // max(image.shape[:2])))
    canvas = np.ascontiguousarray(image.repeat(zoom, 0).repeat(zoom, 1))
    for box, score, label in zip(found.boxes[::-1], found.scores[::-1], found.labels[::-1], strict=True):
        colour = COLOURS[int(label) % len(COLOURS)]
        x1, y1, x2, y2 = (round(float(value) * zoom) for value in box)
        cv2.rectangle(canvas, (x1, y1), (x2, y2), colour, 2, cv2.LINE_AA)
        text = f'{name_of(int(label))} {score:.2f}'
        (width, height), base = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.45, 1)
        top = y1 - height - base if y1 >= height + base else y1
        left = max(0, min(x1, canvas.shape[1] - 1 - width))  # a label at the right edge is moved inside
        cv2.rectangle(canvas, (left, top), (left + width, top + height + base), colour, -1)
        cv2.putText(canvas, text, (left, top + height), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
    return canvas
