"""`report.html` and `report.json`: what a chain, or an ablation, came to, in one file that needs no network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader

from ..io.write import write_atomic
from . import figures
from .features import distiller_of, feature_maps, plan_of
from .gather import TABLE, Facts, gather
from .tables import count_text


def write_page(
    work_dir: str | Path, split: str = 'test', out: str | Path | None = None, results: str | Path | None = None
) -> Path:
    """Write `report.html` and, beside it, `report.json`.

    Args:
        work_dir: of `mmpd train` or `mmpd ablate`. out: the html file; default `<work_dir>/report.html`.
        results: folder with the JSON of an ablation's rows; default `<work_dir>/results`.

    Returns:
        The html file.

    Raises:
        ConfigError: no finished stage in `work_dir`.
    """
    facts = gather(work_dir, split, results)
    out = Path(out or Path(work_dir) / 'report.html')
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(render(facts).encode(), out)
    write_atomic(json.dumps(facts.as_json(), indent=1).encode(), out.with_suffix('.json'))
    return out


def render(facts: Facts) -> str:
    """The page as HTML."""
    environment = Environment(loader=PackageLoader('mmpd.report', 'templates'), autoescape=True, trim_blocks=True)
    distiller = distiller_of(facts.student)
    plan = plan_of(distiller)
    objects = {
        name: int(values.get('gt', 0)) for one in facts.networks for name, values in one.measured.per_class.items()
    }
    val = {one.name: one.val['AP'] for one in facts.networks if len(one.val.get('AP', ())) > 1}
    return environment.get_template('page.html').render(
        facts=facts,
        student=facts.student,
        hr=facts.best_hr,
        plain=facts.find(False, facts.student),
        table=[metric for metric in TABLE if any(metric in one.measured.metrics for one in facts.networks)],
        classes=list(objects),
        objects=objects,
        count=count_text,
        levels=figures.levels(plan) if plan else '',
        plan=plan,
        pareto=figures.pareto(facts),
        val=figures.curves(val, 'epoch', 'AP on val') if val else '',
        losses={
            one.name: figures.curves(one.losses, 'iteration', 'loss', log=True)
            for one in facts.networks
            if any(len(curve) > 1 for curve in one.losses.values())
        },
        gallery=figures.gallery(facts),
        features=_features(facts, distiller) if plan and plan.served() else '',
    )


def _features(facts: Facts, distiller: Any) -> str:
    """Feature maps of the student's guide, the plain network and the student; '' where the guide's file is gone."""
    named = Path(distiller.frozen.checkpoint or '')
    moved = [one.checkpoint for one in facts.networks if Path(one.checkpoint).parts[-2:] == named.parts[-2:]]
    files: list[str | Path] = [*moved, named]
    file = next((file for file in files if Path(file).is_file()), None)
    if file is None:
        return ''
    plain = facts.find(False, facts.student)
    others = [plain] if plain and plain.layers == facts.student.layers else []
    return feature_maps(distiller, facts.student, others, file, figures.first_image(facts))
