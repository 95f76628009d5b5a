"""What the rows say: means over seeds, and whether distillation pays."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from ..run.seeds import mean_sd
from .rows import CONTROLS

SHORT = 10  # epochs of the student, below which a verdict is called a first look


def row_means(results: Iterable[dict], split: str, metric: str) -> dict[str, tuple[float, float, int]]:
    """Row → (mean, sample standard deviation (0 for one seed), number of seeds) of a metric on a split."""
    values: dict[str, list[float]] = {}
    for result in results:
        if metric in result['metrics'].get(split, {}):
            values.setdefault(result['row'], []).append(result['metrics'][split][metric])
    return {row: (*mean_sd(v), len(v)) for row, v in values.items()}


def verdict(results: Sequence[dict], split: str, metric: str) -> str:
    """The distilled student against the honest control, the stronger of the two plain rows, in a sentence or three.

    A difference counts when it is more than two standard errors of the two means; of single seeds, more than a point.
    """
    rows = row_means(results, split, metric)
    controls = [row for row in CONTROLS if row in rows]
    if 'student' not in rows or not controls:
        return f'No verdict: it compares the row student with {" or ".join(CONTROLS)}, measured on {split}.'
    control = max(controls, key=lambda row: rows[row][0])
    (student, sd, seeds), (plain, plain_sd, plain_seeds) = rows['student'], rows[control]
    gain = 100 * (student - plain)
    if min(seeds, plain_seeds) > 1:
        doubt, certain = 200 * math.sqrt(sd**2 / seeds + plain_sd**2 / plain_seeds), 'two standard errors: '
        certain += f'{doubt:.1f}'
    else:
        doubt, certain = 1.0, 'one seed: no spread known'
    pays = 'Distillation pays here' if gain > doubt else 'Distillation does not pay here' if gain < -doubt else None
    text = (
        f'{pays or "No difference that these seeds could show"}: student {100 * student:.1f} {metric} against '
        f'{100 * plain:.1f} of {control}, {gain:+.1f} points on {split} ({certain}).'
    )
    missing = [row for row in CONTROLS if row not in rows]
    if missing:
        text += f' The other control, {missing[0]}, was not run.'
    epochs = next((result.get('epochs') for result in results if result['row'] == 'student'), None)
    if epochs and epochs < SHORT:
        text += f' All of it after {epochs} epochs: a first look.'
    guide = 100 * rows['assistant'][0] if 'assistant' in rows else None
    if guide is not None and guide <= 100 * plain:
        text += (
            f' Its guide, the assistant, has only {guide:.1f}: a guide no better than a plain student teaches nothing. '
            'Train the guides longer, or give trained ones as stages.assistant.checkpoint.'
        )
    return text
