"""Tables for the terminal: metrics of one network, costs of several, and the comparison of a chain's networks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.markup import escape
from rich.table import Table

from ..evaluation.coco_ap import SIZES
from ..evaluation.cost import Cost
from ..evaluation.measure import Measurement

AP_COLUMNS = {'AP50 (area)': 'AP50', 'AP50 (11 points)': 'AP50_11', 'AP50:95 (COCO)': 'AP', 'AP75 (COCO)': 'AP75'}


@dataclass(frozen=True)
class Row:
    """One network in a comparison: what it costs and what it reaches."""

    label: str
    cost: Cost
    measurement: Measurement


def measurement_tables(title: str, measurement: Measurement, size_unit: str = 'HR') -> list[Table]:
    """AP over all, by object size and per class; fractions 0..1, three digits.

    Args:
        size_unit: whose pixels the object sizes are in ('HR', or 'network' where the pipeline does not know HR).
    """
    metrics = measurement.metrics
    if 'AP50_11' not in metrics:
        return [_plain_table(title, measurement.metrics), *_part_table(measurement.per_class)]
    overall = _table(title, *AP_COLUMNS)
    overall.add_row(*(_number(metrics.get(key)) for key in AP_COLUMNS.values()))
    sizes = _table(f'by object size in {size_unit} pixels', 'size', 'area', 'objects', 'AP50:95')
    for name, (low, high) in SIZES.items():
        sizes.add_row(
            name, _sides(low, high), f'{metrics.get(f"gt_{name}", 0):.0f}', _number(metrics.get(f'AP_{name}'))
        )
    classes = _table('by class', 'class', 'objects', 'AP50 (area)', 'AP50 (11 points)', 'AP50:95')
    for name, values in measurement.per_class.items():
        classes.add_row(
            escape(name), f'{values["gt"]:.0f}', *(_number(values.get(key)) for key in ('AP50', 'AP50_11', 'AP'))
        )
    return [overall, sizes, classes]


def _part_table(parts: dict[str, dict[str, float]]) -> list[Table]:
    """What a metric reports by class or set; nothing where there is only one."""
    if len(parts) < 2:
        return []
    columns = list(next(iter(parts.values())))
    table = _table('by part', 'part', *columns)
    for name, values in parts.items():
        table.add_row(escape(name), *(f'{values[column]:.4g}' for column in columns))
    return [table]


def _plain_table(title: str, metrics: dict[str, float]) -> Table:
    table = _table(title, 'metric', 'value')
    for key, value in metrics.items():
        table.add_row(escape(key), f'{value:.4g}')
    return table


def comparison_table(rows: Sequence[Row], title: str) -> Table:
    """What each network of a chain sees, costs and reaches."""
    table = _table(title, 'network', 'image', 'pixels', 'params', 'MACs', 'AP50', 'AP')
    for row in rows:
        cost, metrics = row.cost, row.measurement.metrics
        table.add_row(
            row.label,
            size_text(cost),
            share_text(cost.pixels, rows[0].cost.pixels),
            count_text(cost.params),
            count_text(cost.macs),
            _number(metrics.get('AP50')),
            _number(metrics.get('AP')),
        )
    return table


def outcome_text(distilled: Measurement, plain: Measurement, teacher: Measurement) -> str:
    """One sentence on whether distillation helped, whatever the answer."""
    gains = {key: distilled.metrics[key] - plain.metrics[key] for key in ('AP50', 'AP')}
    if all(gain > 0 for gain in gains.values()):
        outcome = 'beat'
    elif all(gain <= 0 for gain in gains.values()):
        outcome = 'did NOT beat'
    else:
        outcome = 'beat in one measure and not in the other'
    lost = teacher.metrics['AP'] - plain.metrics['AP']
    recovered = f', {gains["AP"] / lost:.0%} of what the LR images cost' if lost > 0 else ''
    return (
        f'The distilled LR student {outcome} the undistilled one: '
        f'AP50 {gains["AP50"]:+.3f}, AP50:95 {gains["AP"]:+.3f}{recovered} (one seed).'
    )


def size_text(cost: Cost) -> str:
    return f'{cost.size[0]}×{cost.size[1]}'


def count_text(value: float) -> str:
    """12_345_678 → '12.3 M'."""
    for limit, unit in ((1e9, 'G'), (1e6, 'M'), (1e3, 'k')):
        if value >= limit:
            return f'{value / limit:.3g} {unit}'
    return f'{value:.0f}'


def share_text(value: float, whole: float) -> str:
    return f'{value / whole:.0%}'


def _sides(low: float, high: float) -> str:
    """Limits of an object area as squares of sides: '32²–96²'."""
    if low == 0:
        return f'< {high**0.5:.0f}²'
    return f'≥ {low**0.5:.0f}²' if high > 1e9 else f'{low**0.5:.0f}²–{high**0.5:.0f}²'


def _number(value: float | None) -> str:
    return '–' if value is None else f'{value:.3f}'


def _table(title: str, *columns: str) -> Table:
    """A table with the first column left and the others right."""
    table = Table(title=escape(title), title_justify='left', title_style='bold')
    for index, column in enumerate(columns):
        table.add_column(column, justify='left' if index == 0 else 'right', no_wrap=True)
    return table
