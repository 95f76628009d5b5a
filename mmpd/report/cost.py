"""Costs and accuracies as tables, a picture, and a sentence that answers a budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter
from rich.markup import escape
from rich.table import Table

from ..evaluation.budget import COSTS, Answer, Scored, pareto_front
from ..evaluation.cost_study import Entry
from .tables import count_text, size_text

matplotlib.use('Agg')
FRONT = '#0072b2'
SHOWN = ('latency', 'bytes', 'macs')
TITLES = {
    'latency': 'latency, ms (log)',
    'bytes': 'bytes of one image (log)',
    'macs': 'MACs (log)',
    'memory': 'peak activation memory, bytes (log)',
    'params': 'parameters (log)',
    'pixels': 'pixels (log)',
}


def study_table(entries: Sequence[Entry], title: str) -> Table:
    """One network a row; columns for what was measured."""
    runtimes = list(dict.fromkeys(name for entry in entries for name in entry.timings))
    codecs = list(dict.fromkeys(name for entry in entries for name in entry.encoded))
    chains = len({entry.candidate.chain for entry in entries}) > 1
    table = Table(title=title)
    for column in (*(['chain'] if chains else []), 'network', 'image'):
        table.add_column(column, no_wrap=True)
    for column in ('params', 'MACs', 'activations'):
        table.add_column(column, justify='right')
    for name in runtimes:
        table.add_column(f'{name} ms\nmedian / p95 / processor', justify='right')
    for name in codecs:
        table.add_column(f'bytes\n{name}', justify='right')
    for entry in entries:
        times = [entry.timings.get(name) for name in runtimes]
        table.add_row(
            *([escape(entry.candidate.chain)] if chains else []),
            escape(entry.label),
            size_text(entry.cost),
            count_text(entry.cost.params),
            count_text(entry.cost.macs),
            f'{count_text(entry.cost.memory)}B',
            *(f'{time.median:.1f} / {time.p95:.1f} / {time.processor:.1f}' if time else '' for time in times),
            *(f'{entry.encoded[name]:,.0f}' if name in entry.encoded else '' for name in codecs),
        )
    return table


def accuracy_table(scored: Sequence[Scored], metric: str, split: str, limited: Sequence[str] = ()) -> Table:
    """Most accurate first; the last column names the costs at which no other network beats it.

    Args:
        limited: costs of a budget, which are shown beside latency, bytes and MACs.
    """
    fronts = front_names(scored)
    shown = [name for name in _measured(scored) if name in (*SHOWN, *limited)]
    table = Table(title=f'{metric} on {split} against cost')
    table.add_column('', no_wrap=True)
    for column in (metric, *shown):
        table.add_column(column, justify='right', no_wrap=True)
    table.add_column('Pareto front')
    for one in sorted(scored, key=lambda one: -one.accuracy):
        spread = f' ± {100 * one.sd:.1f}' if one.seeds > 1 else ''
        values = (value_text(name, one.costs[name]) if name in one.costs else '' for name in shown)
        table.add_row(escape(one.label), f'{100 * one.accuracy:.1f}{spread}', *values, ', '.join(fronts[one.label]))
    return table


def front_names(scored: Sequence[Scored]) -> dict[str, list[str]]:
    """Label → the costs on whose Pareto front it is."""
    names: dict[str, list[str]] = {one.label: [] for one in scored}
    for cost in _measured(scored):
        known = [one for one in scored if cost in one.costs]
        for one, on in zip(known, pareto_front([(one.costs[cost], one.accuracy) for one in known]), strict=True):
            if on:
                names[one.label].append(cost)
    return names


def _measured(scored: Sequence[Scored]) -> list[str]:
    return [name for name in COSTS if any(name in one.costs for one in scored)]


def value_text(cost: str, value: float) -> str:
    """A cost with its unit."""
    if cost == 'latency':
        return f'{value:.1f} ms'
    return f'{count_text(value)}B' if COSTS[cost] == 'B' else count_text(value)


def answer_text(answer: Answer, limits: Mapping[str, float]) -> str:
    """The answer to a budget in sentences."""
    asked = ', '.join(f'{name} ≤ {value_text(name, value)}' for name, value in limits.items())
    if answer.best is None:
        first = f'No network fits {asked}.'
    else:
        own = ', '.join(f'{name} {value_text(name, answer.best.costs[name])}' for name in limits)
        first = f'Within {asked}, the most accurate is {answer.best.label}: {100 * answer.best.accuracy:.1f} ({own}).'
    lines = [first]
    for name, other in answer.binding.items():
        lines.append(
            f'{name} binds: without that limit {other.label} would reach {100 * other.accuracy:.1f} '
            f'({name} {value_text(name, other.costs[name]) if name in other.costs else "not measured"}).'
        )
    if answer.best is None and not answer.binding:
        lines.append('No single limit is the cause: at least two must be raised.')
    elif answer.best is not None and not answer.binding:
        lines.append('No single limit binds: it is the most accurate of all, or two limits must be raised together.')
    return '\n'.join(lines)


def plot_costs(scored: Sequence[Scored], metric: str, split: str, path: str | Path) -> list[str]:
    """Accuracy against each measured cost; the Pareto front is a line through full points, the others are hollow.

    Returns:
        The costs that are drawn: those in which the networks differ by more than 5 %.
    """
    drawn = [name for name in _measured(scored) if _differs(scored, name)]
    columns = min(3, len(drawn)) or 1
    rows = -(-len(drawn) // columns) or 1
    figure = Figure(figsize=(4.6 * columns, 3.6 * rows + 0.3), dpi=110)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat[len(drawn) :]:
        axes.set_axis_off()
    for axes, cost in zip(grid.flat, drawn, strict=False):
        _plot_cost(axes, [one for one in scored if cost in one.costs], cost)
        axes.set_ylabel(f'{metric} on {split}, points', fontsize=8)
    figure.tight_layout()
    figure.savefig(path)
    return drawn


def _differs(scored: Sequence[Scored], cost: str) -> bool:
    values = [one.costs[cost] for one in scored if cost in one.costs]
    return max(values) > 1.05 * min(values)


def _plot_cost(axes: Axes, scored: Sequence[Scored], cost: str) -> None:
    points = [(one.costs[cost], one.accuracy) for one in scored]
    front = pareto_front(points)
    middle = (max(x for x, _ in points) * min(x for x, _ in points)) ** 0.5
    for one, (x, accuracy), on in zip(scored, points, front, strict=True):
        axes.errorbar(
            x, 100 * accuracy, yerr=100 * one.sd or None, marker='o', markersize=6, capsize=2, zorder=3 if on else 2,
            color=FRONT if on else '#888888', markerfacecolor=FRONT if on else 'white',
        )  # fmt: skip
        if on:
            left = x > middle
            axes.annotate(
                one.label, (x, 100 * accuracy), xytext=(-6 if left else 6, -11), textcoords='offset points',
                fontsize=7, ha='right' if left else 'left',
            )  # fmt: skip
    line = sorted((x, 100 * accuracy) for (x, accuracy), on in zip(points, front, strict=True) if on)
    axes.step(*zip(*line, strict=True), where='post', color=FRONT, linewidth=1, zorder=1)
    axes.set_xscale('log')
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(EngFormatter(sep=''))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.margins(x=0.12)
    axes.set_xlabel(TITLES[cost], fontsize=8)
    axes.tick_params(labelsize=7)
    axes.grid(alpha=0.25)
