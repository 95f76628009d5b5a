from mmpd.evaluation.predict import Prediction
from mmpd.report.pictures import draw_comparison, draw_image, match

import cv2
import numpy as np

GT = np.array([[0, 0, 10, 10], [20, 20, 30, 30]], np.float32)
LABELS = np.array([0, 1])


def test_match_takes_each_object_once_and_needs_class_and_place() -> None:
    boxes = np.array([[0, 0, 10, 9], [0, 0, 10, 10], [20, 20, 30, 30], [21, 20, 31, 30], [50, 50, 60, 60]], np.float32)
    labels = np.array([0, 0, 0, 1, 1])
    assert match(boxes, labels, GT, LABELS).tolist() == [True, False, False, True, False]


def test_match_without_objects_or_boxes() -> None:
    none = np.zeros((0, 4), np.float32)
    assert match(GT, LABELS, none, np.zeros(0, int)).tolist() == [False, False]
    assert match(none, np.zeros(0, int), GT, LABELS).shape == (0,)


def prediction(height: int, width: int) -> Prediction:
    return Prediction(np.full((height, width, 3), 90, np.uint8), GT, np.array([0.9, 0.2]), LABELS)


def test_draw_image_keeps_the_shape_and_counts_shown_boxes(tmp_path) -> None:
    image = np.zeros((30, 40, 3), np.uint8)
    assert draw_image(image, prediction(15, 20), ('a', 'b'), tmp_path / 'one.png') == 1
    drawn = cv2.imread(str(tmp_path / 'one.png'))
    assert drawn.shape == (480, 640, 3)
    assert drawn.any()  # the box


def test_draw_comparison(tmp_path) -> None:
    rows = [(GT, LABELS, [prediction(30, 40), prediction(15, 20)])]
    draw_comparison(['HR', 'LR'], rows, ('a', 'b'), (40, 30), tmp_path / 'rows.png')
    assert cv2.imread(str(tmp_path / 'rows.png')).shape[1] > 600
