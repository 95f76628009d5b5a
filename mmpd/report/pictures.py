"""Pictures of detections: one image, or the same images seen by several networks side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from ..evaluation.predict import Prediction

matplotlib.use('Agg')
# Told apart with any colour vision, and on light and dark ground (the Okabe-Ito palette without black).
COLOURS = ('#e69f00', '#56b4e9', '#f0e442', '#d55e00', '#cc79a7', '#009e73', '#0072b2')


def match(boxes: np.ndarray, labels: np.ndarray, gt_boxes: np.ndarray, gt_labels: np.ndarray) -> np.ndarray:
    """Which boxes are right: IoU ≥ 0.5 with an object of their class that no box before them took.

    Args:
        boxes: (n, 4), most confident first. gt_boxes: (g, 4), same pixels.

    Returns:
        (n,) bool.
    """
    right = np.zeros(len(boxes), bool)
    taken = np.zeros(len(gt_boxes), bool)
    for index, (box, label) in enumerate(zip(boxes, labels, strict=True)):
        overlap = np.where((gt_labels == label) & ~taken, _iou(box, gt_boxes), 0)
        if len(overlap) and overlap.max() >= 0.5:
            right[index] = taken[overlap.argmax()] = True
    return right


def _iou(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    inside = np.clip(high - low, 0, None).prod(axis=1)
    area = (others[:, 2:] - others[:, :2]).prod(axis=1) + (box[2:] - box[:2]).prod()
    return inside / np.maximum(area - inside, 1e-9)


def best_score(seen: Sequence[tuple[Prediction, np.ndarray, np.ndarray]]) -> float:
    """The confidence from which a network's boxes are worth drawing: where its F1 at IoU 0.5 is highest ("ours").

    Networks trained in other ways are confident in other ways, so one threshold for all would flatter one of them.

    Args:
        seen: per image, of images that nothing is shown of (val): what was found, gt_boxes (g, 4), gt_labels (g,).

    Returns:
        in [0, 1]; 1.0 where the network finds nothing.
    """
    pairs = [(found.scores, match(found.boxes, found.labels, boxes, labels)) for found, boxes, labels in seen]
    scores, right = (np.concatenate(parts) if parts else np.zeros(0) for parts in zip(*pairs, strict=True))
    objects = sum(len(boxes) for _, boxes, _ in seen)
    if not right.any():
        return 1.0
    order = np.argsort(-scores, kind='stable')
    hits = np.cumsum(right[order])
    f1 = 2 * hits / (np.arange(1, len(hits) + 1) + objects)
    return float(scores[order][f1.argmax()])


def draw_image(
    image: np.ndarray, found: Prediction, classes: Sequence[str], path: str | Path, score: float = 0.3
) -> int:
    """Write a picture of one image with the boxes of `score` or more; returns their number.

    Args:
        image: (H, W, 3) uint8 RGB, of the size that the boxes are in. Small ones are enlarged to be legible.
    """
    height, width = image.shape[:2]
    scale = max(1.0, 640 / max(height, width))
    figure = Figure(figsize=(width * scale / 100, height * scale / 100), dpi=100)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(image, interpolation='nearest', extent=(0, width, height, 0))
    axes.set_axis_off()
    shown = found.scores >= score
    for box, label, confidence in zip(found.boxes[shown], found.labels[shown], found.scores[shown], strict=True):
        colour = _colour(label)
        _add_box(axes, box, colour)
        name = classes[label] if label < len(classes) else f'class {label}'
        axes.text(
            box[0], box[1], f'{_plain(name)} {confidence:.2f}', fontsize=8, va='bottom', color='black',
            bbox=dict(facecolor=colour, edgecolor='none', pad=1), clip_on=True,
        )  # fmt: skip
    figure.savefig(path)
    return int(shown.sum())


def draw_comparison(
    columns: Sequence[str],
    rows: Sequence[tuple[np.ndarray, np.ndarray, Sequence[Prediction]]],
    classes: Sequence[str],
    size: tuple[int, int],
    path: str | Path,
    scores: Sequence[float],
) -> None:
    """The same images (rows) as several networks (columns) saw them, with what they found.

    Ground truth is a thin white box; a right detection is solid in its class's colour, a wrong one dashed. Each panel
    shows the network's own input, enlarged with hard pixels, so an LR panel is as coarse as what the network got.

    Args:
        rows: per image: gt_boxes (g, 4), gt_labels (g,), one Prediction per column; boxes in pixels of the image file.
        size: (width, height) of the image files.
        scores: per column, least confidence of a drawn box, see `best_score`.
    """
    width, height = size
    panel_width = 3.6
    panel_height = panel_width * height / width
    colours = _class_colours(rows, scores, len(classes))
    legend_columns = max(1, int(len(columns) * panel_width / 1.2))
    bottom = 0.45 + 0.22 * math.ceil(len(colours) / legend_columns)  # the legend and a line on lines and dashes
    high = len(rows) * (panel_height + 0.22) + 0.25 + bottom
    figure = Figure(figsize=(len(columns) * panel_width, high), dpi=100)
    grid = figure.subplots(len(rows), len(columns), squeeze=False)
    for line, (gt_boxes, gt_labels, predictions) in enumerate(rows):
        for column, found in enumerate(predictions):
            axes = grid[line, column]
            _panel(axes, found, gt_boxes, gt_labels, size, scores[column], colours)
            if line == 0:
                axes.set_title(columns[column], fontsize=11, fontweight='bold', pad=7)
    boxes = [Patch(facecolor='none', edgecolor=colour, linewidth=2.2) for colour in colours.values()]
    figure.legend(
        boxes, [_plain(classes[label]) for label in colours], loc='lower left', bbox_to_anchor=(0.005, 0.22 / high),
        ncols=legend_columns, fontsize=10, frameon=False, handlelength=1, handleheight=1, columnspacing=1.5,
        borderaxespad=0,
    )  # fmt: skip
    figure.text(
        0.015, 0.13 / high, 'white: ground truth   solid: right   dashed: wrong', fontsize=9, va='center', color='0.3'
    )
    figure.subplots_adjust(
        left=0.01, right=0.99, bottom=(bottom + 0.1) / high, top=1 - 0.33 / high,
        wspace=0.03, hspace=0.22 / panel_height,
    )  # fmt: skip
    figure.savefig(path)


def _class_colours(
    rows: Sequence[tuple[np.ndarray, np.ndarray, Sequence[Prediction]]], scores: Sequence[float], n_classes: int
) -> dict[int, str]:
    """Label → colour of the classes that a picture shows. Where all classes have a colour of their own, it is always
    that; where there are more, the classes of one picture share none before the colours are used up."""
    labels = {int(label) for _, gt_labels, _ in rows for label in gt_labels}
    for _, _, predictions in rows:
        for found, score in zip(predictions, scores, strict=True):
            labels |= {int(label) for label in found.labels[found.scores >= score]}
    ordered = sorted(label for label in labels if label < n_classes)
    few = n_classes <= len(COLOURS)
    return {label: _colour(label if few else place) for place, label in enumerate(ordered)}


def _panel(
    axes: Axes,
    found: Prediction,
    gt_boxes: np.ndarray,
    gt_labels: np.ndarray,
    size: tuple[int, int],
    score: float,
    colours: Mapping[int, str],
) -> None:
    axes.imshow(found.seen, interpolation='nearest', extent=(0, size[0], size[1], 0))
    axes.set_axis_off()
    for box in gt_boxes:
        _add_box(axes, box, 'white', 0.8)
    shown = found.scores >= score
    boxes, labels = found.boxes[shown], found.labels[shown]
    right = match(boxes, labels, gt_boxes, gt_labels)
    for box, label, good in zip(boxes, labels, right, strict=True):
        _add_box(axes, box, colours.get(int(label), COLOURS[0]), style='-' if good else (0, (2, 1.5)))
    axes.text(
        0.5, -0.02, f'{right.sum()} of {len(gt_boxes)} found, {(~right).sum()} wrong', transform=axes.transAxes,
        ha='center', va='top', fontsize=9,
    )  # fmt: skip


def _add_box(axes: Axes, box: np.ndarray, colour: str, width: float = 1.8, style: Any = '-') -> None:
    x1, y1, x2, y2 = map(float, box)
    axes.add_patch(
        Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor=colour, linewidth=width, linestyle=style)
    )


def _plain(name: str) -> str:
    """A class name that matplotlib does not take for a formula."""
    return name.replace('$', r'\$')


def _colour(label: int) -> str:
    return COLOURS[label % len(COLOURS)]
