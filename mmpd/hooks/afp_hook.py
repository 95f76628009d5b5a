"""AFPHook: verify the alignment on a dummy batch, count the levels' positives, and print both before training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from mmdet.registry import HOOKS
from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper

from ..align.alignment import Alignment
from ..align.positives import annotated_images, count_positives
from ..errors import ConfigError

if TYPE_CHECKING:
    from ..distill.view import NetworkView, Shape


@HOOKS.register_module()
class AFPHook(Hook):
    """Stop a run whose guide and student do not line up, before it costs anything.

    Args:
        size: LR (height, width) of the dummy, padded as the pair's batches are; odd sides show what even ones hide.
    """

    def __init__(self, size: tuple[int, int] = (97, 161)) -> None:
        self.size = size

    def before_train(self, runner) -> None:
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        alignment = getattr(model, 'alignment', None)
        if alignment is None:  # a stage without a guide
            return
        side = alignment.made_for
        verify_alignment(alignment, (side, side) if side else self.size, model.data_preprocessor.divisor)
        images = annotated_images(runner.train_dataloader.dataset)
        alignment.positives = count_positives(alignment.student.head, alignment.plan.student, images)
        runner.logger.info('AFP: ' + describe_plan(alignment))

    def after_train_epoch(self, runner) -> None:
        """Say how often the guide's outputs were found."""
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        cache = getattr(model, 'guide_cache', None)
        if cache is not None:
            runner.logger.info(cache.summary())


@torch.no_grad()
def verify_alignment(alignment: Alignment, size: tuple[int, int], divisor: int) -> None:
    """Run guide and student on a dummy pair and compare what the plan promises with what comes out.

    Args:
        size: (h, w) of the LR image in pixels. divisor: padded LR sides are multiples of it.

    Raises:
        ConfigError: a level whose stride differs from its head's, or a window whose grids differ.
    """
    ratio = alignment.ratio
    height, width = (side + -side % divisor for side in size)
    _, student = alignment.student.probe(height, width)
    _, guide = alignment.guide.probe(int(height * ratio), int(width * ratio))
    plan = alignment.plan
    verify_strides('student', alignment.student, student, height)
    verify_strides('guide', alignment.guide, guide, int(height * ratio))
    for match in plan.served():
        if not match.exact:
            continue
        student_level, guide_level = match.student, match.guides[0]
        rows_student = round(height / student[student_level].stride)
        rows_guide = round(int(height * ratio) / guide[guide_level].stride)
        if rows_student != rows_guide:
            raise ConfigError(
                f'window at ratio {ratio}: student level {student_level} (stride '
                f'{plan.student[student_level].stride:g}) has {rows_student} rows, guide level {guide_level} (stride '
                f"{plan.guide[guide_level].stride:g}) {rows_guide}; set align = 'resample' or change student_pyramid"
            )


def verify_strides(owner: str, view: NetworkView, shapes: Sequence[Shape], height: int) -> None:
    """Compare the strides of a head's priors with those of the maps that it gets, also where its family is unknown.

    Args:
        shapes: of the feature maps of an image of `height` pixels.

    Raises:
        ConfigError: a level whose stride differs: the detector would be trained to boxes elsewhere.
    """
    strides = view.head_strides()
    if strides is None or len(strides) != len(shapes):  # queries, corners, one map for several strides
        return
    for index, (shape, stride) in enumerate(zip(shapes, strides, strict=True)):
        # the last levels of a small dummy are a cell or two, whose stride cannot be measured
        if shape.stride * 2 < height and abs(shape.stride / stride - 1) > 0.34:
            raise ConfigError(
                f'{owner} level {index}: the head assumes stride {stride:g}, the feature map of '
                f'{shape.channels} channels has stride {shape.stride:.0f}; change anchor_generator.strides (or '
                'strides) of the head, or start_level and num_outs of the neck, in stages.*.overrides'
            )


def describe_plan(alignment: Alignment) -> str:
    """The plan in words, one line per student level; sizes in HR pixels."""
    plan = alignment.plan
    lines = [f'{plan.kind} plan at ratio {plan.ratio} (sizes in HR pixels)']
    for match in plan.matches:
        level = plan.student[match.student].scaled(plan.ratio)
        left = f'  student level {match.student}: stride {level.stride:g}, objects of about {level.size:.0f}'
        if alignment.positives:
            share = alignment.positives[match.student] / sum(alignment.positives)
            left += f', {share:.1%} of the positives' if share else ', no positive: no feature imitation'
        if not match.guides:
            lines.append(f'{left} ← no guide level, masked')
            continue
        how = 'same grid and priors' if match.exact else 'resampled'
        right = ', '.join(
            f'level {g} (stride {plan.guide[g].stride:g}, objects of about {plan.guide[g].size:.0f})'
            for g in match.guides
        )
        lines.append(f'{left} ← guide {right}: {how}')
    for g in plan.unserved:
        lines.append(
            f'  guide level {g} (stride {plan.guide[g].stride:g}, objects of about {plan.guide[g].size:.0f}) serves no '
            'student level'
        )
    return '\n'.join(lines)
