"""Counts of a split: nothing is left out without a word, and ten problems are enough to see a pattern."""

from mmpd.data.data_report import DataReport, read_all
from mmpd.errors import DataError

import pytest


def test_the_line_has_every_count_and_three_examples():
    report = DataReport('train.txt', images=5, boxes=12, difficult=2, negatives=1)
    for image_id in ('a', 'a', 'b', 'c', 'd'):
        report.drop('boxes without area', image_id)
    report.change('boxes clipped', 'e')
    assert report.summary() == (
        'train.txt: 5 images, 12 boxes, 2 difficult, 1 images without a box; dropped: 5 boxes without area (a b c …); '
        'changed: 1 boxes clipped (e)'
    )


def test_images_without_boxes_by_their_nature_are_not_counted_as_empty():
    assert DataReport('crops', counts_boxes=False, images=3).summary() == 'crops: 3 images'


def read(item: int) -> dict:
    if item % 2:
        raise DataError(f'item {item} is odd')
    return dict(item=item)


def test_all_items_are_read_in_order():
    assert read_all([4, 0, 2], read, 'split') == [dict(item=4), dict(item=0), dict(item=2)]


def test_problems_are_collected_up_to_ten():
    with pytest.raises(DataError, match='split has unusable files') as few:
        read_all([0, 1, 2, 3], read, 'split')
    assert [line.strip() for line in str(few.value).splitlines()[1:]] == ['item 1 is odd', 'item 3 is odd']
    seen: list[int] = []
    with pytest.raises(DataError, match='the rest was not checked') as many:
        read_all(range(1000), lambda item: seen.append(item) or read(item), 'split')
    assert len(str(many.value).splitlines()) == 12 and max(seen) == 19
