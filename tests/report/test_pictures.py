from pathlib import Path

from mmpd.evaluation.predict import Prediction
from mmpd.report.pictures import best_score, draw_comparison, draw_image, match

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


def changed(one: Path, other: Path) -> tuple[int, int, int, int]:
    """x1, y1, x2, y2 around the pixels in which two pictures differ."""
    images = [cv2.imread(str(path)).astype(int) for path in (one, other)]
    rows, columns = np.nonzero(np.abs(images[0] - images[1]).sum(axis=2) > 30)
    return int(columns.min()), int(rows.min()), int(columns.max()), int(rows.max())


def test_a_sure_box_is_drawn_where_it_is_and_an_unsure_one_is_not(tmp_path) -> None:
    """The network saw half the image; boxes are in pixels of the file, which is enlarged 16 times for the picture."""
    image = np.zeros((30, 40, 3), np.uint8)
    found = Prediction(np.full((15, 20, 3), 90, np.uint8), GT, np.array([0.2, 0.9]), LABELS)
    assert draw_image(image, found, ('a', 'b'), tmp_path / 'one.png') == 1
    assert draw_image(image, found, ('a', 'b'), tmp_path / 'none.png', 0.95) == 0
    assert draw_image(image, found, ('a', 'b'), tmp_path / 'two.png', 0.1) == 2
    x1, y1, x2, y2 = changed(tmp_path / 'one.png', tmp_path / 'none.png')
    assert abs(x1 - 320) < 24 and abs(y2 - 480) < 24 and y1 > 200  # (20, 20, 30, 30); its name stands above it
    assert changed(tmp_path / 'two.png', tmp_path / 'one.png')[0] < 24


def test_each_network_is_drawn_in_its_own_column(tmp_path) -> None:
    empty = Prediction(np.full((30, 40, 3), 90, np.uint8), GT[:0], np.zeros(0), LABELS[:0])
    for name, second in (('with', prediction(30, 40)), ('without', empty)):
        rows = [(GT, LABELS, [prediction(30, 40), second])]
        draw_comparison(['HR', 'LR'], rows, ('a', 'b'), (40, 30), tmp_path / f'{name}.png', [0.3, 0.3])
    width = cv2.imread(str(tmp_path / 'with.png')).shape[1]
    assert changed(tmp_path / 'with.png', tmp_path / 'without.png')[0] > width / 2


def test_of_many_classes_the_legend_names_those_in_the_picture_each_in_a_colour_of_its_own(
    tmp_path, monkeypatch
) -> None:
    names = tuple(f'class {index}' for index in range(20))
    found = Prediction(np.full((30, 40, 3), 90, np.uint8), GT, np.array([0.9, 0.2]), np.array([3, 17]))
    seen: list[tuple[str, object]] = []

    def legend(self, handles, labels, **_) -> None:
        seen.extend(zip(labels, (patch.get_edgecolor() for patch in handles), strict=True))

    monkeypatch.setattr('mmpd.report.pictures.Figure.legend', legend)
    rows = [(GT, np.array([10, 10]), [found, found])]
    draw_comparison(['HR', 'LR'], rows, names, (40, 30), tmp_path / 'many.png', [0.3, 0.3])
    assert [name for name, _ in seen] == ['class 3', 'class 10']  # 17 is not sure enough to be drawn; 3 + 7 = 10
    assert len({colour for _, colour in seen}) == 2


def test_the_best_score_is_where_f1_is_highest_by_trying_every_threshold() -> None:
    rng = np.random.default_rng(0)
    seen = []
    for _ in range(5):
        corner = rng.uniform(0, 30, (6, 2))
        objects = np.concatenate([corner, corner + 10], axis=1).astype(np.float32)
        boxes = np.concatenate([objects + rng.normal(0, 1, objects.shape), objects + 40]).astype(np.float32)
        scores = np.sort(rng.uniform(0, 1, 12))[::-1]
        labels = rng.integers(0, 2, 6)
        found = Prediction(np.zeros((1, 1, 3), np.uint8), boxes, scores, np.concatenate([labels, labels]))
        seen.append((found, objects, labels))

    def f1(threshold: float) -> float:
        hits = wrong = 0
        for found, objects, labels in seen:
            kept = found.scores >= threshold
            right = match(found.boxes[kept], found.labels[kept], objects, labels)
            hits, wrong = hits + right.sum(), wrong + (~right).sum()
        return 2 * hits / (hits + wrong + 30)

    everything = np.concatenate([found.scores for found, _, _ in seen])
    assert f1(best_score(seen)) == max(f1(threshold) for threshold in everything)


def test_a_network_that_finds_nothing_is_drawn_without_boxes() -> None:
    empty = Prediction(np.zeros((1, 1, 3), np.uint8), np.zeros((0, 4)), np.zeros(0), np.zeros(0, int))
    assert best_score([(empty, GT, LABELS)]) == 1.0


def test_names_with_dollar_signs_are_no_formulas(tmp_path) -> None:
    odd = (r'$\\nonsense{', 'b$')
    draw_image(np.zeros((30, 40, 3), np.uint8), prediction(15, 20), odd, tmp_path / 'one.png')
    draw_comparison(['HR'], [(GT, LABELS, [prediction(30, 40)])], odd, (40, 30), tmp_path / 'rows.png', [0.3])
