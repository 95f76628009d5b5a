"""Tables and plot of an ablation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from ..io.write import write_atomic
from ..run.seeds import mean_sd_text
from ..terms.adversarial import SURE, VANISHED
from .rows import CONTROLS, HR_ROWS, ROWS
from .verdict import row_means, verdict

METRICS = ('AP', 'AP50', 'AP_small', 'AP_medium', 'AP_large')


def markdown_table(results: Sequence[dict], split: str) -> str:
    """Mean ± sd over seeds, in points, one line a row; then AP per class. Sizes are in HR pixels.

    AP is the mean over classes, that of a size too: with few objects of a class in it, it says little, so the column
    names how many objects there are.
    """
    columns = {metric: row_means(results, split, metric) for metric in METRICS}
    rows = _ordered(columns['AP'])
    lines = [
        '| row | what | seeds | ' + ' | '.join(_heading(results, split, metric) for metric in METRICS) + ' |',
        '|---|---|---|' + '---|' * len(METRICS),
    ]
    for row in rows:
        cells = [mean_sd_text(*columns[metric][row]) if row in columns[metric] else '' for metric in METRICS]
        lines.append(f'| `{row}` | {ROWS.get(row, "")} | {columns["AP"][row][2]} | ' + ' | '.join(cells) + ' |')
    return '\n'.join([*lines, '', _per_class(results, rows, split)])


def discriminator_notes(results: Sequence[dict]) -> str:
    """One line for each row and seed with a discriminator, and a warning where it won or fell silent."""
    lines = []
    for result in results:
        seen = result.get('discriminator')
        if not seen:
            continue
        text = f'`{result["row"]}`, seed {result["seed"]}: the discriminator is right in {seen["accuracy"]:.1%}'
        if seen['accuracy'] > SURE:
            text += '. **Warning**: LR features never look like HR ones, so fooling it is not about resolution'
        if seen['gradient'] < VANISHED:
            text += f'. **Warning**: its gradient at the student has vanished ({seen["gradient"]:.1g})'
        lines.append(text + '.')
    return '\n'.join(lines)


def _ordered(rows: Iterable[str]) -> list[str]:
    """As in ROWS; stages of the chain's own come last."""
    rows = list(rows)
    return [row for row in ROWS if row in rows] + [row for row in rows if row not in ROWS]


def _heading(results: Sequence[dict], split: str, metric: str) -> str:
    key = metric.replace('AP_', 'gt_')
    counts = [result['metrics'][split][key] for result in results if key in result['metrics'].get(split, {})]
    return f'{metric} ({counts[0]:.0f} objects)' if counts and key != metric else metric


def _per_class(results: Sequence[dict], rows: Sequence[str], split: str) -> str:
    classes = sorted({name for result in results for name in result['per_class'].get(split, {})})
    lines = ['| AP by class | ' + ' | '.join(classes) + ' |', '|---|' + '---|' * len(classes)]
    for row in rows:
        own = [result['per_class'].get(split, {}) for result in results if result['row'] == row]
        means = []
        for name in classes:
            values = [scores[name]['AP'] for scores in own if name in scores]
            means.append(f'{100 * sum(values) / len(values):.1f}' if values else '')
        lines.append(f'| `{row}` | ' + ' | '.join(means) + ' |')
    return '\n'.join(lines)


def plot(results: Sequence[dict], split: str, path: Path, metric: str = 'AP') -> None:
    """Bars with standard deviations; the honest control is drawn as a line across."""
    rows = row_means(results, split, metric)
    names = _ordered(rows)
    figure = Figure(figsize=(8, 0.5 + 0.42 * len(names)))
    axes = figure.subplots()
    colours = ['#888888' if row in CONTROLS else '#bbccee' if row in HR_ROWS else '#3377cc'
               for row in names]  # fmt: skip
    axes.barh(
        names, [100 * rows[n][0] for n in names], xerr=[100 * rows[n][1] for n in names], color=colours, capsize=3
    )
    controls = [100 * rows[n][0] for n in CONTROLS if n in rows]
    if controls:
        axes.axvline(max(controls), color='black', linewidth=1, linestyle='--')
    axes.invert_yaxis()
    axes.set_xlabel(f'{metric} on {split}, points (dashed: the stronger plain LR row)')
    for index, name in enumerate(names):
        axes.text(0.5, index, f'{100 * rows[name][0]:.1f}', va='center', color='black', fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def plot_curves(results: Sequence[dict], path: Path, metric: str = 'AP') -> None:
    """Metric on val over the epochs of a row, mean over its seeds: does longer training still help?"""
    figure = Figure(figsize=(8, 4.5))
    axes = figure.subplots()
    known = [result for result in results if result.get('curve')]
    means = {}
    for row in dict.fromkeys(result['row'] for result in known):
        curves = [result['curve'] for result in known if result['row'] == row]
        epochs = sorted(set.intersection(*(set(curve) for curve in curves)), key=int)
        means[row] = {int(epoch): 100 * sum(curve[epoch] for curve in curves) / len(curves) for epoch in epochs}
    for row in sorted(means, key=lambda row: -max(means[row].values(), default=0)):  # the legend reads as the lines lie
        style = '--' if row in CONTROLS else ':' if row in HR_ROWS else '-'
        axes.plot(list(means[row]), list(means[row].values()), style, marker='.', label=row)
    axes.set_xlabel('epoch of the row (rows that start from the assistant come after its epochs)')
    axes.set_ylabel(f'{metric} on val, points (dotted: HR, dashed: plain LR)')
    axes.legend(fontsize=8, loc='center left', bbox_to_anchor=(1, 0.5))
    axes.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def write_report(results: Sequence[dict], split: str, out_dir: Path) -> str:
    """Write `table_<split>.md`, `plot_<split>.png` and `curves_val.png`; returns table and verdict."""
    parts = (markdown_table(results, split), verdict(results, split, 'AP'), discriminator_notes(results))
    text = '\n\n'.join(part for part in parts if part) + '\n'
    write_atomic(text.encode(), out_dir / f'table_{split}.md')
    plot(results, split, out_dir / f'plot_{split}.png')
    plot_curves(results, out_dir / 'curves_val.png')
    return text
