"""What the rows say: means over seeds, and whether distillation pays."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

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

    A difference counts when it is more than two standard errors, those of the seeds and of the images together; of
    single seeds, whose spread is not known, more than a point and the error of the images.
    """
    rows = row_means(results, split, metric)
    controls = [row for row in CONTROLS if row in rows]
    if 'student' not in rows or not controls:
        return f'No verdict: it compares the row student with {" or ".join(CONTROLS)}, measured on {split}.'
    control = max(controls, key=lambda row: rows[row][0])
    (student, sd, seeds), (plain, plain_sd, plain_seeds) = rows['student'], rows[control]
    gain = 100 * (student - plain)
    if min(seeds, plain_seeds) > 1:
        doubt = 200 * math.sqrt(sd**2 / seeds + plain_sd**2 / plain_seeds)
        known = f'two standard errors of the seeds: {doubt:.1f}'
    else:
        doubt, known = 1.0, 'one seed: no spread known'
    of_images = error_of_the_images(results, ('student', control), split) if metric == 'AP' else None
    if of_images is not None:
        doubt = math.hypot(doubt, 200 * of_images)
        known += f'; two standard errors of the images: {200 * of_images:.1f}'
    pays = 'Distillation pays here' if gain > doubt else 'Distillation does not pay here' if gain < -doubt else None
    text = (
        f'{pays or "No difference that these seeds and images could show"}: student {100 * student:.1f} {metric} '
        f'against {100 * plain:.1f} of {control}, {gain:+.1f} points on {split} ({known}).'
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


def error_of_the_images(results: Iterable[dict], pair: tuple[str, str], split: str) -> float | None:
    """Standard error of the difference of two rows' mean APs by the choice of the split's images; None where a row was
    measured without groups, or on too few images.

    Delete-a-group jackknife over `without` of the rows, each row's mean over its seeds: both rows see the same images,
    so what makes an image hard for both cancels out.
    """
    measured = [
        [found for result in results if result['row'] == row and (found := result.get('without', {}).get(split))]
        for row in pair
    ]
    if not all(measured):
        return None
    ours, theirs = (np.mean(seeds, axis=0) for seeds in measured)
    return float(np.sqrt((len(ours) - 1) * np.var(ours - theirs)))
