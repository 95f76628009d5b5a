"""Preflight: the pyramids of a stage, who lines up with whom, and which objects fall between them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from ..align.alignment import Alignment
from ..align.oracle import oracle_check
from ..align.plan import AlignmentPlan, Level
from ..align.positives import N_IMAGES, Annotated, annotated_images, count_positives
from ..distill.view import NetworkView, view_of
from ..hooks.afp_hook import verify_alignment, verify_strides
from .data import TrainData, fitting_sizes, uncovered
from .finding import Finding, LevelRow, StageCheck, warning
from .heads import decode_finding

N_ORACLE = 50
"""Training images that the oracle guide is tried on."""
BIG_SHARE = 0.3
"""Share of the training boxes from which a gap between the pyramids is a warning."""


def check_pyramids(check: StageCheck, model: Any, ratio: float, data: TrainData, n_images: int = N_IMAGES) -> None:
    """Level tables, the plan on a dummy batch, gaps between the pyramids, and the heads' decoding, put into `check`.

    Args:
        model: a Distiller with a guide, or a plain network. ratio: HR side / side of the images that it trains on.
        n_images: training images on which positives are counted.
    """
    alignment = getattr(model, 'alignment', None)
    if alignment is None:
        check.levels['student'] = _alone(check.name, view_of(model), ratio, data, n_images)
    else:
        verify_alignment(alignment, _dummy_size(alignment), model.data_preprocessor.divisor)
        _pair(check, alignment, ratio, data, n_images)
        _gaps(check, data)
        check.adapters = _adapters(model.terms)
    check.below_cell = data.tiny(ratio * check.levels['student'][0].level.stride)
    # a stage without a guide needs no decoding itself: that of a guide is looked at in the stages that it guides
    if any(term.needs_guide_head for term in getattr(model, 'terms', {}).values()):
        found = [decode_finding(model.student, check.name), decode_finding(model.guide, f'{check.name}.guide')]
        check.findings += [finding for finding in found if finding]


def _alone(name: str, view: NetworkView, ratio: float, data: TrainData, n_images: int) -> list[LevelRow]:
    """The pyramid of a network without a guide."""
    side = view.probe_side or 256
    _, shapes = view.probe(side, side)
    verify_strides(name, view, shapes, side)
    levels = view.levels(shapes)
    counts = count_positives(view.head, levels, annotated_images(data.dataset, n_images))
    return _rows(levels, shapes, ratio, data, {}, counts)


def _dummy_size(alignment: Alignment) -> tuple[int, int]:
    """LR (height, width) of the dummy on which the plan is verified; odd sides show what even ones hide."""
    side = alignment.made_for
    return (side, side) if side else (97, 161)


def _pair(check: StageCheck, alignment: Alignment, ratio: float, data: TrainData, n_images: int) -> None:
    """Both pyramids, and where an oracle guide is heard."""
    plan, guide_ratio = alignment.plan, ratio / float(alignment.ratio)
    images = sample(data.dataset, n_images)
    alignment.positives = count_positives(alignment.student.head, plan.student, images)
    check.oracle = oracle_check(alignment, images[:: max(math.ceil(len(images) / N_ORACLE), 1)])
    check.findings += _oracle_findings(check)
    of_student, of_guide = _partners(plan)
    check.levels['student'] = _rows(plan.student, alignment.student_feats, ratio, data, of_student, alignment.positives)
    check.levels['guide'] = _rows(plan.guide, alignment.guide_feats, guide_ratio, data, of_guide)


def sample(dataset: Any, n_images: int) -> list[Annotated]:
    """Up to `n_images` training images; up to `N_IMAGES` where those have no object, as most of a data set may."""
    images = list(annotated_images(dataset, n_images))
    if n_images < N_IMAGES and images and not any(len(image.boxes) for image in images):
        images = list(annotated_images(dataset, N_IMAGES))
    return images


def _partners(plan: AlignmentPlan) -> tuple[dict[int, str], dict[int, str]]:
    """Student level → the guide levels that serve it, and guide level → the student levels that it serves, in words."""
    served = plan.served()
    of_student = {
        match.student: 'guide ' + ', '.join(map(str, match.guides)) + (' same grid' if match.exact else ' resampled')
        for match in served
    }
    of_guide = {
        guide: 'student ' + ', '.join(str(match.student) for match in served if guide in match.guides)
        for guide in {guide for match in served for guide in match.guides}
    }
    return of_student, of_guide


def _gaps(check: StageCheck, data: TrainData) -> None:
    """Sizes that the guide sees and no student level covers; a warning where many boxes have them."""
    gaps = uncovered(*([row.sizes for row in check.levels[who]] for who in ('guide', 'student')))
    check.gaps = [(low, high, data.share((low, high))) for low, high in gaps]
    lost = sum(share for _, _, share in check.gaps)
    if lost > BIG_SHARE:
        text = f'{lost:.0%} of the training boxes have a size that a guide level fits and no student level'
        check.findings.append(warning('student_pyramid', f'{text}; see the gaps'))


def _adapters(terms: Any) -> list[str]:
    """One line per learned 1×1 convolution between the two networks' channels."""
    return [
        f'terms.{name}.{key}: {conv.in_channels} → {conv.out_channels} channels'
        for name, term in terms.items()
        for key, conv in getattr(term, 'adapters', {}).items()
    ]


def _oracle_findings(check: StageCheck) -> list[Finding]:
    """A warning where the guide speaks past its student."""
    if check.oracle is None or check.oracle.passed:
        return []
    text = f'{check.oracle}; change align, student_pyramid or the anchors in overrides'
    return [warning(f'stages.{check.name}.align', text)]


def _rows(
    levels: Sequence[Level],
    shapes: Sequence,
    ratio: float,
    data: TrainData,
    partners: dict,
    positives: Sequence[int] | None = None,
) -> list[LevelRow]:
    """`ratio` = HR side / side of this network's input."""
    rows = []
    for index, (level, shape) in enumerate(zip(levels, shapes, strict=True)):
        sizes = fitting_sizes(level.scaled(ratio))
        share = positives[index] / sum(positives) if positives else None
        rows.append(LevelRow(level, shape.channels, sizes, data.share(sizes), partners.get(index, ''), share))
    return rows
