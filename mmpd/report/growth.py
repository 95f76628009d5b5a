"""How a step grows, as a table and a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from rich.table import Table

matplotlib.use('Agg')
NAMES = {
    'side': 'side of the HR images, pixels',
    'batch': 'images in a batch',
    'classes': 'classes',
    'objects': 'objects in an image',
}
COLOURS = {'networks': '#888888', 'step': '#0072b2'}


def growth_table(result: dict[str, Any]) -> Table:
    """Rows of `mmpd.run.growth.measure_growth`."""
    table = Table(title='milliseconds an image', title_justify='left')
    for column in ('', 'both networks', 'distillation step', 'step / networks'):
        table.add_column(column, justify='right' if column else 'left')
    for row in result['rows']:
        cells = (f'{1e3 * row["networks"]:.1f}', f'{1e3 * row["step"]:.1f}', f'{row["step"] / row["networks"]:.3f}')
        table.add_row(f'{row["axis"]} {row[row["axis"]]}', *cells)
    return table


def plot_growth(result: dict[str, Any], path: str | Path) -> None:
    """A panel an axis: both networks and the step, and their ratio at each point."""
    axes_names = list(dict.fromkeys(row['axis'] for row in result['rows']))
    figure = Figure(figsize=(3.0 * len(axes_names), 2.7), dpi=90)
    grid = figure.subplots(1, len(axes_names), squeeze=False)[0]
    for axes, name in zip(grid, axes_names, strict=True):
        rows = [row for row in result['rows'] if row['axis'] == name]
        values = [row[name] for row in rows]
        for part, colour in COLOURS.items():
            axes.plot(values, [1e3 * row[part] for row in rows], 'o-', color=colour, markersize=4, linewidth=1.2)
        for row in rows:
            ratio = f'{row["step"] / row["networks"]:.2f}'
            axes.annotate(
                ratio,
                (row[name], 1e3 * row['step']),
                xytext=(0, 5),
                textcoords='offset points',
                fontsize=7,
                ha='center',
            )
        axes.set_xscale('log')
        axes.set_yscale('log')
        axes.margins(y=0.25)
        axes.set_xticks(values, [str(value) for value in values])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlabel(NAMES[name], fontsize=8)
        axes.tick_params(labelsize=7, which='both')
        axes.grid(alpha=0.25)
    grid[0].set_ylabel('ms an image', fontsize=8)
    grid[0].legend(['both networks', 'distillation step'], fontsize=7, frameon=False)
    figure.tight_layout()
    figure.savefig(path)
