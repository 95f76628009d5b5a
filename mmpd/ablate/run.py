"""The table that says whether distillation pays: rows as stages of one chain, so that all share data and schedule."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from mmengine.config import Config

from ..chain.chain import Chain, read_chain
from ..chain.deploy import bench_config
from ..chain.stage import Stage
from ..chain.stage_config import stage_config
from ..errors import ConfigError
from ..evaluation.measure import measure
from ..io.write import write_atomic
from ..run.fingerprint import fingerprint
from ..run.live import Show
from ..run.stages import run_stages
from ..run.state import finished_checkpoint

GROUPS = 20
"""Groups of images that are left out one by one: enough for a standard error that is itself known to a sixth."""

SHARED = ('teacher', 'assistant')
"""Stages that all seeds may share."""


def share_guides(chain: Chain, folder: Path) -> Chain:
    """The chain with the finished teacher and assistant of another seed in `folder` (one training of each, not one a
    seed)."""
    config = Config(copy.deepcopy(chain.config.to_dict()), filename=chain.config.filename)
    for name in SHARED:
        finished = finished_checkpoint(folder / name)
        if name in chain.stages and finished and not chain.stages[name].given:
            config.stages[name].checkpoint = finished
    return read_chain(config)


def row_fingerprint(stage: Stage, old: bool = False) -> str:
    """Hash of what decides a row's result: its config, those of its guides, and the content of given checkpoints.

    Args:
        old: as `fingerprint`.
    """
    pending, lineage = [stage], {}
    while pending:
        one = pending.pop()
        if one.given:
            given = Path(one.given)
            lineage[one.name] = hashlib.sha256(given.read_bytes()).hexdigest() if given.is_file() else one.given
        else:
            names = {other: other for other in one.chain_config.stages}  # in place of files
            lineage[one.name] = fingerprint(stage_config(one, Path('work_dir'), names), old)
            pending += one.needs
    return hashlib.sha256(json.dumps(lineage, sort_keys=True).encode()).hexdigest()[:16]


def refuse_other_options(chain: Chain, results: Iterable[dict], out_dir: Path) -> None:
    """Rows measured under other options are not to be mixed with those of `chain`, an ablation chain of one seed.

    Raises:
        ConfigError: naming the row's file and what to do.
    """
    for result in results:
        row, seed = result['row'], result['seed']
        same_seed = row in chain.stages and seed == chain.config.randomness.seed
        if same_seed and not any(
            result.get('fingerprint') == row_fingerprint(chain.stages[row], old) for old in (False, True)
        ):
            raise ConfigError(
                f'{out_dir / f"{row}_seed{seed}.json"} was measured with other options, or other guides, than those '
                'given now: use another --work-dir (and --out-dir), or remove the file'
            )


def run_row(
    chain: Chain,
    row: str,
    work_dir: Path,
    out_dir: Path,
    splits: Iterable[str] = ('val',),
    show: Show = Show(),  # noqa: B008
) -> dict:
    """Train one row of an ablation chain, measure it, and write `<out_dir>/<row>_seed<seed>.json`.

    Finished work is reused, and a measured split is not measured again.

    Raises:
        ConfigError: the row was measured with other options.
    """
    stage, seed = chain.stages[row], chain.config.randomness.seed
    path = out_dir / f'{row}_seed{seed}.json'
    result = json.loads(path.read_text()) if path.is_file() else {}
    refuse_other_options(chain, [result] if result else [], out_dir)
    wanted = [split for split in splits if split not in result.get('metrics', {})]
    if not wanted:
        return result
    folder = work_dir / f'seed{seed}'
    checkpoint = run_stages(chain, folder, only=row, show=show)[row]
    done_file = folder / row / 'done.json'
    done = json.loads(done_file.read_text()) if done_file.is_file() else {}
    metrics, per_class, without = (result.get(key, {}) for key in ('metrics', 'per_class', 'without'))
    config = bench_config(stage)
    config.test_evaluator.groups = GROUPS
    for split in wanted:
        measured = measure(config, checkpoint, split)
        metrics[split], per_class[split], without[split] = measured.metrics, measured.per_class, measured.without
    result = dict(
        row=row,
        seed=seed,
        config=chain.name,
        ratio=str(chain.ratio),
        reduction=stage.reduction,
        pyramid=stage.pyramid,
        align=stage.entry.get('align', 'auto'),
        fingerprint=row_fingerprint(stage),
        epochs=done.get('epochs'),
        seconds=done.get('seconds'),
        curve=val_curve(folder / row),
        discriminator=discriminator_means(folder / row),
        metrics=metrics,
        per_class=per_class,
        without=without,
    )
    out_dir.mkdir(parents=True, exist_ok=True)
    write_atomic(json.dumps(result, indent=1).encode(), path)
    return result


def val_curve(folder: Path, metric: str = 'AP') -> dict[str, float]:
    """Epoch → metric on val while a stage trained."""
    return {str(line['step']): line[f'pd/{metric}'] for line in scalar_lines(folder) if f'pd/{metric}' in line}


def discriminator_means(folder: Path) -> dict[str, float]:
    """Mean accuracy and gradient of a stage's discriminator over the second half of what was logged; {} without one."""
    lines = [line for line in scalar_lines(folder) if 'adversarial_accuracy' in line]
    late = lines[len(lines) // 2 :]
    names = ('accuracy', 'gradient') if late else ()
    return {name: sum(line[f'adversarial_{name}'] for line in late) / len(late) for name in names}


def scalar_lines(folder: Path) -> Iterator[dict]:
    """mmengine's scalar logs in a stage's folder, in order."""
    for log in sorted(folder.glob('*/vis_data/scalars.json')):  # one a start; a resumed stage has several
        for line in log.read_text().splitlines():
            with contextlib.suppress(ValueError):  # the machine stopped while this line was written
                yield json.loads(line)


def read_results(out_dir: Path) -> list[dict]:
    """Every row's JSON in a folder."""
    return [json.loads(path.read_text()) for path in sorted(out_dir.glob('*_seed*.json'))]
