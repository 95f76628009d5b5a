"""What the folder of a finished chain, or of an ablation, says: networks, numbers, curves. No picture is made here."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import init_default_scope

from ..ablate.run import read_results
from ..ablate.verdict import row_means, verdict
from ..errors import ConfigError
from ..evaluation.cost import Cost, network_cost, size_of
from ..evaluation.measure import Measurement, measure, network_of
from ..io.write import write_atomic
from ..nested import bare_type
from ..run.fingerprint import data_fingerprint, labels_hash
from ..run.state import finished_checkpoint, read_json

Curve = list[tuple[float, float]]
"""(iteration or epoch, value)."""
TABLE = ('AP', 'AP50', 'AP_small', 'AP_medium', 'AP_large')


@dataclass
class NetworkFacts:
    """One finished stage.

    Attributes:
        name: the stage. folder: its folder. checkpoint: file with its plain weights.
        guided: whether it was distilled. guide: name of the stage, or of the file, that taught it; '' for none.
        epochs: that it trained.
        size: (width, height) of its images. cost: see `mmpd.evaluation.cost`.
        measured: on the split that was asked for. losses: name → curve over iterations; val: metric → curve over
            epochs.
    """

    name: str
    folder: Path
    checkpoint: str
    guided: bool
    epochs: int
    size: tuple[int, int]
    cost: Cost
    measured: Measurement
    losses: dict[str, Curve] = field(default_factory=dict)
    val: dict[str, Curve] = field(default_factory=dict)
    guide: str = ''

    @property
    def layers(self) -> dict[str, Any]:
        """Its model config but for padding, training and post-processing: equal ones can hold each other's weights."""
        model = Config.fromfile(self.folder / 'bench.py').model
        return {key: model[key] for key in model if key not in ('data_preprocessor', 'train_cfg', 'test_cfg')}


@dataclass
class Facts:
    """A report's content.

    Attributes:
        title: name of the folder. split: what the networks were measured on.
        networks: in the order in which they were trained.
        rows: of an ablation or of several runs: metric → row → (mean, sd, seeds). verdict: of an ablation, else ''.
    """

    title: str
    split: str
    networks: list[NetworkFacts]
    rows: dict[str, dict[str, tuple[float, float, int]]] = field(default_factory=dict)
    verdict: str = ''

    def find(self, guided: bool, like: NetworkFacts) -> NetworkFacts | None:
        """The last network with images of the size of `like`, distilled or not."""
        found = [one for one in self.networks if one.guided == guided and one.size == like.size and one is not like]
        return found[-1] if found else None

    @property
    def student(self) -> NetworkFacts:
        """What the chain is for: `student`, else the network of the smallest images, the distilled one where there are
        several, the last one of those."""
        named = [one for one in self.networks if one.name == 'student']
        return min(named or self.networks[::-1], key=lambda one: (one.size[0] * one.size[1], not one.guided))

    @property
    def best_hr(self) -> NetworkFacts | None:
        """The most accurate of the networks that see the largest images; None where none sees larger ones than the
        student (its guide was given as a file)."""
        pixels = max(one.size[0] * one.size[1] for one in self.networks)
        largest = [one for one in self.networks if one.size[0] * one.size[1] == pixels]
        if self.student.size[0] * self.student.size[1] == pixels:
            return None
        return max(largest, key=lambda one: one.measured.metrics.get('AP', 0.0))

    def as_json(self) -> dict[str, Any]:
        """Every number of the report."""
        return dict(
            title=self.title,
            split=self.split,
            verdict=self.verdict,
            rows=self.rows,
            networks={
                one.name: dict(
                    size=one.size,
                    epochs=one.epochs,
                    guided=one.guided,
                    params=one.cost.params,
                    macs=one.cost.macs,
                    metrics=one.measured.metrics,
                    per_class=one.measured.per_class,
                )
                for one in self.networks
            },
        )


def gather(work_dir: str | Path, split: str = 'test', results_dir: str | Path | None = None) -> Facts:
    """Read a folder, and measure its networks where that was not done before (kept in `<stage>/measured_<split>.json`).

    Args:
        work_dir: of `mmpd train` or of `mmpd ablate` (of several seeds or runs, the networks are those of the first).
        results_dir: folder with the JSON of an ablation's rows; default `<work_dir>/results`.

    Raises:
        ConfigError: no finished stage in it, or stages of another task than detection.
    """
    work_dir = Path(work_dir)
    results_dir = Path(results_dir or work_dir / 'results')
    results = read_results(results_dir) if results_dir.is_dir() else []
    seeds = sorted(int(folder.name[4:]) for folder in work_dir.glob('seed*') if folder.name[4:].isdigit())
    first = seeds[0] if seeds else 0
    root = next((work_dir / name for name in (f'seed{first}', 'run0') if (work_dir / name).is_dir()), work_dir)
    folders = [folder for folder in root.glob('*') if folder.is_dir() and finished_checkpoint(folder)]
    if not folders:
        raise ConfigError(
            f'{work_dir} holds no finished stage (a folder with done.json): name a --work-dir of a training'
        )
    folders.sort(key=lambda folder: (folder / 'done.json').stat().st_mtime)
    measured = {
        row['row']: Measurement(row['metrics'][split], row['per_class'][split])
        for row in results
        if row['seed'] == first and split in row['metrics'] and root != work_dir
    }
    labels_hash.cache_clear()
    networks = [_network(folder, split, measured.get(folder.name)) for folder in folders]
    rows = {metric: means for metric in TABLE if (means := row_means(results, split, metric))}
    said = verdict(results, split, 'AP') if rows else ''
    if not rows and split == 'test':
        rows = _runs(work_dir / 'runs.json')
    return Facts(work_dir.resolve().name, split, networks, rows, said)


def _runs(summary: Path) -> dict[str, dict[str, tuple[float, float, int]]]:
    """Metric → network → (mean, sd, runs) of `mmpd train --runs`; {} where there were none."""
    networks = read_json(summary)
    rows: dict[str, dict[str, tuple[float, float, int]]] = {}
    for metric in TABLE:
        for name, values in networks.items():
            if metric in values:
                one = values[metric]
                rows.setdefault(metric, {})[name] = (one['mean'], one['sd'], len(one['values']))
    return rows


def _network(folder: Path, split: str, measured: Measurement | None = None) -> NetworkFacts:
    bench = Config.fromfile(folder / 'bench.py')
    trained = Config.fromfile(folder / f'{folder.name}.py')
    init_default_scope(bench.get('default_scope', 'mmdet'))
    checkpoint, network = str(finished_checkpoint(folder)), network_of(bench)
    if bare_type(network.config.test_evaluator) != 'PDMetric':
        raise ConfigError(f'{folder} is no stage of a detection chain: reports are made of detection; use mmpd test')
    size = size_of(network)
    losses, val = _curves(folder)
    return NetworkFacts(
        name=folder.name,
        folder=folder,
        checkpoint=checkpoint,
        guided=bare_type(trained.model) == 'Distiller',
        epochs=int(read_json(folder / 'done.json').get('epochs', 0)),
        size=size,
        cost=network_cost(network.config.model, size, folder.name),
        measured=measured or _measured(folder, bench, checkpoint, split),
        losses=losses,
        val=val,
        guide=Path(trained.model.get('guide_checkpoint') or '').stem.removesuffix('_best'),
    )


def _measured(folder: Path, bench: Config, checkpoint: str, split: str) -> Measurement:
    """As `mmpd test` measures; kept, and taken again while the weights and the labels are the same."""
    kept = folder / f'measured_{split}.json'
    weights = hashlib.sha256(Path(checkpoint).read_bytes()).hexdigest()
    of = dict(weights=weights, data=data_fingerprint(bench, split))
    content = read_json(kept)
    if all(content.get(key) == value for key, value in of.items()):
        return Measurement(content['metrics'], content['per_class'])
    result = measure(bench, checkpoint, split)
    record = dict(of, metrics=result.metrics, per_class=result.per_class)
    write_atomic(json.dumps(record, indent=1).encode(), kept)
    return result


def _curves(folder: Path) -> tuple[dict[str, Curve], dict[str, Curve]]:
    """Losses over iterations and validation metrics over epochs, from mmengine's logs of every start of the stage."""
    losses: dict[str, dict[float, float]] = {}
    val: dict[str, dict[float, float]] = {}
    for log in sorted(folder.glob('*/vis_data/scalars.json')):
        for line in log.read_text().splitlines():
            try:
                scalars = json.loads(line)
            except ValueError:  # the machine stopped while this line was written
                continue
            for key, value in scalars.items():
                if key.startswith('loss') and 'iter' in scalars:
                    losses.setdefault(key, {})[scalars['iter']] = value
                elif key in ('pd/AP', 'pd/AP50'):
                    val.setdefault(key.removeprefix('pd/'), {})[scalars['step']] = value
    return ({key: sorted(curve.items()) for key, curve in part.items()} for part in (losses, val))  # type: ignore
