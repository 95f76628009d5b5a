"""The same chain several times from other seeds: mean and standard deviation of what its networks reach."""

from __future__ import annotations

import copy
import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import is_main_process
from rich.table import Table

from ..chain.chain import Chain, read_chain
from ..chain.deploy import bench_config
from ..errors import ConfigError
from ..evaluation.measure import measure
from ..io.write import write_atomic
from .live import Show
from .stages import run_stages
from .state import read_json

Summary = dict[str, dict[str, dict]]
"""Stage → metric → dict(mean, sd (n - 1; 0 of one run), values)."""


def run_many(
    chain: Chain,
    work_dir: str | Path,
    runs: int,
    only: str | None = None,
    launcher: str = 'none',
    check: bool = False,
    show: Show = Show(),  # noqa: B008 (frozen)
) -> Summary:
    """Train a chain with the seeds s, s + 1, … (s = `randomness.seed`) and measure its networks on the test split.

    Run i lies in `<work_dir>/run<i>`; what is finished is not trained again. The summary is written to
    `<work_dir>/runs.json` as well, where that of other stages stays.

    Args:
        only, launcher, check, show: as `run_stages`; the check is done once.

    Raises:
        ConfigError: runs < 1, a stage with a seed of its own, or as `run_stages`.
    """
    if runs < 1:
        raise ConfigError(f'--runs {runs}: at least one run')
    results = []
    for index in range(runs):
        one = with_seed(chain, index)
        checked = check and index == 0
        checkpoints = run_stages(one, Path(work_dir) / f'run{index}', only, launcher, check=checked, show=show)
        results.append(
            {
                name: measure(bench_config(one.stages[name]), file, 'test', launcher).metrics
                for name, file in checkpoints.items()
                if only in (None, name)
            }
        )
    summary = summarise(results)
    if is_main_process():
        written = Path(work_dir) / 'runs.json'
        merged = {**read_json(written), **summary}
        known = {name: merged[name] for name in chain.stages if name in merged}
        write_atomic(json.dumps(known, indent=1).encode(), written)
    return summary


def with_seed(chain: Chain, index: int) -> Chain:
    """The chain of run `index`."""
    config = Config(copy.deepcopy(chain.config.to_dict()), filename=chain.config.filename)
    config.randomness = {**config.get('randomness', {}), 'seed': first_seed(chain) + index}
    return read_chain(config)


def first_seed(chain: Chain) -> int:
    """The seed of a chain (0 where it gives none), from which others count up.

    Raises:
        ConfigError: a stage has a seed of its own, which would be that of every run.
    """
    for name, stage in chain.stages.items():
        runner = stage.entry.get('runner') or {}
        if 'randomness.seed' in runner or 'seed' in (runner.get('randomness') or {}):
            raise ConfigError(
                f'stages.{name}.runner.randomness.seed would be the same in runs of several seeds: leave it out, and '
                'set randomness.seed of the chain'
            )
    return chain.config.get('randomness', {}).get('seed') or 0


def summarise(results: Sequence[Mapping[str, Mapping[str, float]]]) -> Summary:
    """Mean and sd per stage and metric. Args: results: of each run, stage → metric → value."""
    summary: Summary = {}
    for name in results[0]:
        for metric in results[0][name]:
            values = [result[name][metric] for result in results]
            mean, sd = mean_sd(values)
            summary.setdefault(name, {})[metric] = dict(mean=mean, sd=sd, values=values)
    return summary


def mean_sd(values: Sequence[float]) -> tuple[float, float]:
    """Mean and sample standard deviation (n - 1; 0 of one value)."""
    return statistics.mean(values), statistics.stdev(values) if len(values) > 1 else 0.0


def mean_sd_text(mean: float, sd: float, n: int) -> str:
    """Fractions as points: '42.0 ± 2.8', or '42.0' of a single value."""
    return f'{100 * mean:.1f}' + (f' ± {100 * sd:.1f}' if n > 1 else '')


def summary_table(summary: Summary, metrics: Sequence[str], fractions: bool = True) -> Table:
    """One row per network: mean ± sd of `metrics`, fractions in per cent."""
    shown = [metric for metric in metrics if any(metric in values for values in summary.values())]
    n_runs = max(len(entry['values']) for values in summary.values() for entry in values.values())
    unit = ', per cent' if fractions else ''
    table = Table(title=f'test split, mean ± sd of {n_runs} runs{unit}', title_justify='left')
    for column in ('network', *shown):
        table.add_column(column, justify='left' if column == 'network' else 'right', no_wrap=True)
    for name, values in summary.items():
        cells = [values.get(metric) for metric in shown]
        table.add_row(name, *(_cell(entry, fractions) if entry else '–' for entry in cells))
    return table


def _cell(entry: Mapping[str, Any], fractions: bool) -> str:
    runs = len(entry['values'])
    if fractions:
        return mean_sd_text(entry['mean'], entry['sd'], runs)
    return f'{entry["mean"]:.4g}' + (f' ± {entry["sd"]:.2g}' if runs > 1 else '')
