from mmpd.evaluation.cost import Cost
from mmpd.evaluation.measure import Measurement
from mmpd.report.tables import (
    Row,
    comparison_table,
    count_text,
    measurement_tables,
    outcome_text,
)

import pytest
from rich.console import Console


def shown(*tables) -> str:
    console = Console(width=200)
    with console.capture() as capture:
        console.print(*tables)
    return capture.get()


def measured(ap50: float, ap: float) -> Measurement:
    return Measurement({'AP50': ap50, 'AP': ap})


FULL = Measurement(
    {'AP50': 0.51, 'AP50_11': 0.52, 'AP': 0.25, 'AP75': 0.2, 'AP_small': 0.125, 'gt_small': 7.0, 'gt_large': 0.0},
    {'ring': {'gt': 7, 'AP50': 0.61, 'AP50_11': 0.62, 'AP': 0.31}},
)


@pytest.mark.parametrize(
    ('distilled', 'plain', 'words'),
    [
        ((0.5, 0.3), (0.4, 0.2), ['beat the', 'AP50 +0.100', 'AP50:95 +0.100', '50% of what']),
        ((0.3, 0.1), (0.4, 0.2), ['did NOT beat', 'AP50 -0.100', '-50%']),
        ((0.4, 0.2), (0.4, 0.2), ['did NOT beat', '+0.000']),
        ((0.5, 0.1), (0.4, 0.2), ['in one measure and not in the other']),
    ],
)
def test_verdict_says_what_the_numbers_say(distilled, plain, words) -> None:
    text = outcome_text(measured(*distilled), measured(*plain), teacher=measured(0.6, 0.4))
    for word in words:
        assert word in text


def test_verdict_without_a_loss_to_win_back() -> None:
    assert '%' not in outcome_text(measured(0.5, 0.3), measured(0.4, 0.2), teacher=measured(0.3, 0.1))


def rows(table) -> list[dict[str, str]]:
    """The rows of a table, column → cell."""
    columns = {str(column.header): list(column.cells) for column in table.columns}
    return [dict(zip(columns, map(str, cells), strict=True)) for cells in zip(*columns.values(), strict=True)]


def test_each_number_stands_under_what_it_measures() -> None:
    overall, sizes, classes = measurement_tables('student', FULL)
    assert rows(overall) == [
        {'AP50 (area)': '0.510', 'AP50 (11 points)': '0.520', 'AP50:95 (COCO)': '0.250', 'AP75 (COCO)': '0.200'}
    ]
    by_size = {row['size']: row for row in rows(sizes)}
    assert by_size['small'] == {'size': 'small', 'area': '< 32²', 'objects': '7', 'AP50:95': '0.125'}
    assert by_size['medium']['area'] == '32²–96²' and by_size['large']['area'] == '≥ 96²'
    assert by_size['large']['AP50:95'] == '–'  # a size without objects has no AP
    (ring,) = rows(classes)
    assert (ring['class'], ring['objects'], ring['AP50 (area)'], ring['AP50:95']) == ('ring', '7', '0.610', '0.310')
    assert 'HR' in sizes.title and 'network' in measurement_tables('student', FULL, 'network')[1].title


def test_another_tasks_metrics_are_shown_as_they_are() -> None:
    text = shown(*measurement_tables('classifier', Measurement({'top1': 71.25})))
    assert 'top1' in text and '71.25' in text


def test_shares_are_of_the_first_row() -> None:
    costs = [
        Cost('teacher', '', (320, 240), 10_000_000, 4_000_000_000),
        Cost('student', 'fine', (160, 120), 1_500, 10**9),
    ]
    table = comparison_table([Row('teacher (HR)', costs[0], FULL), Row('student (LR)', costs[1], FULL)], 'demo')
    teacher, student = rows(table)
    assert (teacher['pixels'], teacher['params'], teacher['MACs']) == ('100%', '10 M', '4 G')
    assert student == {
        'network': 'student (LR)', 'image': '160×120', 'pixels': '25%', 'params': '1.5 k', 'MACs': '1 G',
        'AP50': '0.510', 'AP': '0.250',
    }  # fmt: skip


def test_count_text() -> None:
    assert [count_text(value) for value in (12, 1_234, 88_600_000, 4.2e9)] == ['12', '1.23 k', '88.6 M', '4.2 G']


def test_names_with_brackets_are_names_and_no_markup() -> None:
    """`[old]` is a style to rich, and `[/]` an error."""
    odd = Measurement({**FULL.metrics}, {'[old] car': FULL.per_class['ring'], '[/]': FULL.per_class['ring']})
    text = shown(*measurement_tables('[bold]run[1].pth', odd))
    assert '[old] car' in text and '[/]' in text and '[bold]run[1].pth' in text
