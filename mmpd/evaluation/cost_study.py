"""Costs of many networks, measured together, and joined with the accuracies of an ablation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from mmdet.registry import DATASETS, MODELS

from ..ablate.rows import HR_ROWS
from ..chain.chain import Chain
from ..chain.datasets import innermost
from ..errors import ConfigError
from ..run.seeds import mean_sd
from .budget import Scored
from .cost import Candidate, Cost, network_cost, padded_size
from .encoded import encoded_bytes
from .timing import Timing, time_networks

LATENCY_ORDER = ('onnx', 'cuda', 'cpu')
"""Which measured runtime a budget's `latency` means: the first of these that was timed."""


@dataclass
class Entry:
    """Everything measured of one network.

    Attributes:
        timings: by runtime. encoded: mean bytes of one image by codec, the first is what a budget's `bytes` means.
    """

    candidate: Candidate
    cost: Cost
    timings: dict[str, Timing] = field(default_factory=dict)
    encoded: dict[str, float] = field(default_factory=dict)

    @property
    def label(self) -> str:
        where = f' 1/{self.candidate.ratio}' if self.candidate.ratio != 1 else ''
        return f'{self.candidate.stage}{where}{" " + self.candidate.pyramid if self.candidate.pyramid else ""}'

    def costs(self) -> dict[str, float]:
        """By the names of `budget.COSTS`; what was not measured is left out."""
        counted: dict[str, float] = dict(
            pixels=self.cost.pixels, params=self.cost.params, macs=self.cost.macs, memory=self.cost.memory
        )
        for runtime in LATENCY_ORDER:
            if runtime in self.timings:
                counted['latency'] = self.timings[runtime].latency
                break
        for value in list(self.encoded.values())[:1]:
            counted['bytes'] = value
        return counted


def measure_candidates(found: Sequence[Candidate], runtimes: Sequence[str], threads: int, repeats: int) -> list[Entry]:
    """Count each network, and time all in each runtime."""
    entries = [Entry(one, network_cost(one.model, one.size, one.stage, one.pyramid)) for one in found]
    for runtime in runtimes:
        networks = [(MODELS.build(one.model).eval(), padded_size(one.model, one.size)) for one in found]
        for entry, timing in zip(entries, time_networks(networks, runtime, threads, repeats), strict=True):
            entry.timings[runtime] = timing
    return entries


def measure_bytes(entries: Iterable[Entry], chain: Chain, images: Sequence[str | Path], codecs: Sequence[str]) -> None:
    """Fill `encoded` of a chain's entries; equal sizes are encoded once."""
    known: dict[Fraction, dict[str, float]] = {}
    operator = chain.final.reduction
    for entry in entries:
        ratio = entry.candidate.ratio
        if ratio not in known:
            known[ratio] = encoded_bytes(images, tuple(chain.config.data.hr_scale), ratio, operator, codecs)
        entry.encoded = known[ratio]


def chain_images(chain: Chain, most: int) -> list[str]:
    """The first image files of a chain's test set."""
    config = dict(innermost(chain.config.data.test))
    dataset = DATASETS.build(dict(config, pipeline=[], test_mode=True))
    dataset.full_init()
    return [dataset.get_data_info(index)['img_path'] for index in range(min(most, len(dataset)))]


def join_results(
    entries: Sequence[Entry], results: Iterable[dict], split: str, metric: str
) -> tuple[list[Scored], list[str]]:
    """Accuracies of an ablation's rows with the costs of their networks; and rows without a network, with reasons.

    A row is matched by chain, stage, ratio and pyramid; an HR row by its stage alone. A row that is no stage has the
    student's network, `hr_plain` the assistant's. Rows of several seeds are one point; of two ablations with the same
    HR row the first counts.

    Raises:
        ConfigError: no row has that metric on that split.
    """
    values: dict[tuple[str, str, str, str], list[float]] = {}
    left_out: dict[str, None] = {}
    for result in results:
        value = result.get('metrics', {}).get(split, {}).get(metric)
        key = tuple(str(result.get(name)) for name in ('config', 'row', 'ratio', 'pyramid'))
        if value is None:
            left_out[f'{key[1]}: no {metric} on {split}'] = None
        else:
            values.setdefault(key, []).append(value)  # type: ignore[arg-type]
    scored: dict[str, Scored] = {}
    for (config, row, ratio, pyramid), numbers in values.items():
        entry = _entry_of(entries, config, row, ratio, pyramid)
        if entry is None:
            left_out[f'{row} (chain {config}, ratio {ratio}, {pyramid}): not among the networks above'] = None
            continue
        mean, sd = mean_sd(numbers)
        place = '' if entry.candidate.ratio == 1 else f' 1/{ratio} {pyramid}'
        name = f'{row}{place}'
        if len({one.candidate.chain for one in entries}) > 1:
            name = f'{config} {name}'
        point = Scored(name, mean, sd, len(numbers), entry.costs())
        if scored.setdefault(name, point) != point:  # an HR row that several ablations have
            left_out[f'{row} (chain {config}, ratio {ratio}, {pyramid}): another ablation has other numbers of it'] = (
                None
            )
    if not scored:
        raise ConfigError(f'no row of --results has {metric} on {split} and a network among those of the configs')
    return list(scored.values()), list(left_out)


def _entry_of(entries: Sequence[Entry], config: str, row: str, ratio: str, pyramid: str) -> Entry | None:
    own = [entry for entry in entries if entry.candidate.chain == config]
    stage = row
    if all(entry.candidate.stage != row for entry in own):  # a row that is derived from a stage
        stage = {'hr_plain': 'assistant'}.get(row, row) if row in HR_ROWS else 'student'
    for entry in own:
        one = entry.candidate
        high = one.ratio == 1 and not one.pyramid
        if one.stage == stage and (high or (one.ratio == Fraction(ratio) and one.pyramid == pyramid)):
            return entry
    return None


def ratios_of(results: Iterable[dict], chain: Chain) -> list[Fraction]:
    """The ratios that results of a chain were made at, its own first. Rows of HR networks say 1, and are no student."""
    found = {Fraction(str(result['ratio'])) for result in results if result.get('config') == chain.name}
    return [chain.ratio, *sorted(found - {chain.ratio, Fraction(1)})]


def cost_rows(entries: Sequence[Entry]) -> list[dict[str, str | float | Mapping]]:
    """One flat record a network, for CSV and JSON: counts, milliseconds, bytes."""
    rows: list[dict] = []
    for entry in entries:
        one, cost = entry.candidate, entry.cost
        row: dict = dict(
            chain=one.chain,
            network=one.stage,
            ratio=str(one.ratio),
            pyramid=one.pyramid,
            width=one.size[0],
            height=one.size[1],
            params=cost.params,
            macs=cost.macs,
            activation_bytes=cost.memory,
        )
        for timing in entry.timings.values():
            row[f'{timing.runtime}_median_ms'] = round(timing.median, 3)
            row[f'{timing.runtime}_p95_ms'] = round(timing.p95, 3)
            row[f'{timing.runtime}_processor_ms'] = round(timing.processor, 3)
            row['threads'] = timing.threads
            row['repeats'] = timing.repeats
        row.update({f'bytes_{codec}': round(value, 1) for codec, value in entry.encoded.items()})
        rows.append(row)
    return rows
