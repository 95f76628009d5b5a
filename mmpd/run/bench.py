"""What a distillation step costs beside its parts: measured together, in turns, so that a busy machine hits all alike.

What counts is the median CPU time (of all threads); wall time and quartiles stand beside it. On a GPU, where the CPU
only waits, wall time counts.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config, ConfigDict
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import Runner
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from ..chain.stage import Stage
from ..chain.stage_config import stage_config
from ..check.preflight import build_stage, quiet
from ..distill.guide_cache import GuideCache
from ..distill.step import Step
from ..errors import ConfigError
from ..terms.roi import RoITerm
from .stopwatch import Part, import_seconds, interleaved, loader_rate, peak_mebibytes, spent_by

VARIANTS = ('channels_last', 'amp', 'compile')


@dataclass(frozen=True)
class BenchOptions:
    """threads: of torch. batch: images. rounds: repetitions of every part, after one that does not count. amp: autocast
    to bfloat16. channels_last: memory format of all weights. compile: the guide. device: of the networks. guide_cache:
    measure a step whose guide outputs are found as well, in main memory ('memory') or in a folder; None: not."""

    threads: int = 1
    batch: int = 4
    rounds: int = 15
    amp: bool = False
    channels_last: bool = False
    compile: bool = False
    device: str = 'cpu'
    guide_cache: str | None = None


def bench_stage(stage: Stage, options: BenchOptions, checkpoint: str | None = None) -> dict[str, Any]:
    """Measure one stage with a guide on its own training images.

    Args:
        checkpoint: weights of the guide. None: random ones, which are sure of nothing, so the response term has little
            to do: give trained ones for a figure that counts.

    Returns:
        `times` (part → `Times` as dict), `ratio` of the step to the sum of its parts, `terms` (name → forward and extra
        backward), `mebibytes` (part → peak of what is allocated meanwhile), `memory_ratio`, `loader`, `import_seconds`
        and `options`; with a peer `peer_ratio` and `peer_memory_ratio`.

    Raises:
        ConfigError: a stage without guide.
    """
    with _built(stage, options, checkpoint) as (config, model, loader, data):
        parts, peer = step_parts(model, data, options), peer_parts(config, data, options)
        times = interleaved({**parts, **peer}, options.rounds, options.batch, options.device)
        terms = term_times(model, data, options)
        memory = {part: peak_mebibytes(run, options.device) for part, run in {**parts, **peer}.items()}
        memory['guide outputs'] = _output_mebibytes(model, data, options)
    key = 'wall' if options.device.startswith('cuda') else 'cpu'
    cost = {part: getattr(value, key) for part, value in times.items()}
    result = dict(
        options=asdict(options),
        ratio=cost['distillation step'] / (cost['student step'] + cost['guide forward']),
        memory_ratio=memory['distillation step'] / (memory['student step'] + memory['guide outputs']),
        times={part: asdict(value) for part, value in times.items()},
        terms=terms,
        mebibytes=memory,
        loader=loader_rate(loader, options.batch),
        import_seconds=import_seconds(),
    )
    if peer:
        result['peer_ratio'] = cost['peer step'] / (cost['peer student step'] + cost['peer teacher forward'])
        result['peer_memory_ratio'] = memory['peer step'] / memory['peer student step']
    return result


def compare_options(stage: Stage, options: BenchOptions, checkpoint: str | None = None) -> dict[str, Any]:
    """Student step, guide forward and distillation step with each option of speed, beside the plain ones, in turns.

    Returns:
        `times`: option ('plain', 'channels_last', 'amp', 'compile') → part → `Times` as dict.
    """
    parts: dict[tuple[str, str], Part] = {}
    for name in ('plain', *VARIANTS):
        changed: dict[str, Any] = {} if name == 'plain' else {name: True}
        own = replace(options, **changed)
        with _built(stage, own, checkpoint) as (_, model, _, data):
            found = step_parts(model, data, own)
        chosen = ('guide forward',) if name == 'compile' else ('student step', 'guide forward', 'distillation step')
        parts.update({(name, part): found[part] for part in chosen})
    with quiet():
        times = interleaved(parts, options.rounds, options.batch, options.device)
    nested: dict[str, dict[str, Any]] = {}
    for (name, part), value in times.items():
        nested.setdefault(name, {})[part] = asdict(value)
    return dict(options=asdict(options), times=nested)


@contextlib.contextmanager
def _built(stage: Stage, options: BenchOptions, checkpoint: str | None) -> Iterator[tuple[Config, Any, Any, dict]]:
    """The stage's config, its model, its training loader and one batch, in the stage's scope. Raises ConfigError."""
    if not stage.guide:
        raise ConfigError(f'stages.{stage.name} has no guide, so it has no distillation step to measure')
    torch.set_num_threads(options.threads)
    config = stage_config(stage, Path('work_dirs'), {stage.guide.name: checkpoint} if checkpoint else {})
    config.model.guide_cache, config.model.guide_cache_dir = 0, None
    config.train_dataloader.batch_size = options.batch
    with quiet(), DefaultScope.overwrite_default_scope(config.default_scope):
        torch.manual_seed(0)
        model = prepared(build_stage(config, checkpoint, None), options)
        loader = Runner.build_dataloader(Config(config.to_dict()).train_dataloader, seed=0)
        yield config, model, loader, model.data_preprocessor(next(iter(loader)), True)


def step_parts(model: Any, data: dict, options: BenchOptions) -> dict[str, Part]:
    """The step and its parts: forward and backward of the student alone, forward of the guide, and both of the step.

    The guide's forward is of what the terms need: features, dense head, and with a RoI term its RoI head on as many
    boxes as the student samples.
    """
    images, samples = data['inputs'], data['data_samples']
    head = any(getattr(term, 'needs_guide_head', False) for term in model.terms.values())
    roi = any(isinstance(term, RoITerm) for term in model.terms.values())
    sampled = _step(model, data) if roi else None

    def student() -> None:
        _backward(model, model.student.loss(images['lr'], samples))

    def guide() -> Any:
        with torch.no_grad():
            taps = model.guide_view.run(images['hr'], head, with_stem=False)
            return taps if sampled is None else RoITerm.run_guide(replace(sampled, guide=taps))

    def two_models() -> None:
        """The least that any distillation does: both networks in one step, and no term."""
        guide()
        student()

    def step() -> None:
        _backward(model, model(images, samples, mode='loss'))

    parts = {
        'student step': student,
        'guide forward': guide,
        'two-model step': two_models,
        'distillation step': step,
    }
    if options.guide_cache is not None:
        folder = None if options.guide_cache == 'memory' else options.guide_cache
        cache = GuideCache(0 if folder else 4096, folder=folder, guide=model.frozen.digest)

        def found() -> None:
            model.guide_cache = cache
            step()
            model.guide_cache = None

        parts['step, guide found'] = found
    return {name: _in_precision(run, options) for name, run in parts.items()}


def peer_parts(config: Config, data: dict, options: BenchOptions) -> dict[str, Part]:
    """mmdet's KnowledgeDistillationSingleStageDetector (LD) on the student's images; {} where the head is not GFL's.

    It distils at one size, so its teacher is the student's own architecture.
    """
    student = ConfigDict(copy.deepcopy(config.model.student))
    if student.get('bbox_head', {}).get('type') != 'GFLHead':
        return {}
    teacher = ConfigDict(copy.deepcopy(student))
    student.type = 'KnowledgeDistillationSingleStageDetector'
    student.bbox_head.type = 'LDHead'
    student.bbox_head.loss_ld = dict(type='KnowledgeDistillationKLDivLoss', loss_weight=0.25, T=10)
    student.teacher_config = Config(dict(model=teacher))
    for part in (student, teacher):
        part.backbone.init_cfg = None
    peer, plain = (prepared(MODELS.build(part), options) for part in (student, copy.deepcopy(teacher)))
    images, samples = data['inputs']['lr'], data['data_samples']

    def teach() -> None:
        with torch.no_grad():
            peer.teacher_model.bbox_head(peer.teacher_model.extract_feat(images))

    parts = {
        'peer student step': lambda: _backward(plain, plain.loss(images, samples)),
        'peer teacher forward': teach,
        'peer step': lambda: _backward(peer, peer.loss(images, samples)),
    }
    return {name: _in_precision(run, options) for name, run in parts.items()}


def term_times(model: Any, data: dict, options: BenchOptions) -> dict[str, dict[str, float]]:
    """Each term alone on the outputs of both networks: seconds an image of its forward, and of its own backward, which
    ends where the student's outputs begin. What terms share (aligned responses) each of them pays."""
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in model.terms}
    for round_ in range(options.rounds + 1):
        with _precision(options):
            outputs = _step(model, data)
            leaves = _detach(outputs.student)
            for name, term in model.terms.items():
                step = replace(outputs)  # nothing is worked out yet
                losses: list[Tensor] = []
                forward = spent_by(partial(_forward, term, step, losses), options.device)
                backward = spent_by(partial(_grad, losses, leaves), options.device)
                if round_:
                    spent[name].append((forward[0], backward[0]))
    medians = {name: np.median(np.array(rows), axis=0) / options.batch for name, rows in spent.items()}
    return {name: dict(forward=float(row[0]), backward=float(row[1])) for name, row in medians.items()}


def _step(model: Any, data: dict) -> Step:
    """Both networks have run, and no term has."""
    images, samples = data['inputs'], data['data_samples']
    with torch.no_grad():
        taps_hr = model._run_guide(images['hr'])
    with model.student_view.taps() as taps_lr:
        model.student.loss(images['lr'], samples)
    return Step(images['hr'], images['lr'], samples, taps_hr, taps_lr, model.alignment, model._run_guide)


def prepared(model: nn.Module, options: BenchOptions) -> Any:
    """The model on its device, in its memory format, its guide compiled where that is asked for."""
    model = model.to(options.device)
    model.train()  # returns None where the model is mmdet's distilling detector
    if options.channels_last:
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if options.compile and hasattr(model, 'guide_view'):
        model.guide_view.compile()  # type: ignore[union-attr]
    return model


@contextlib.contextmanager
def _precision(options: BenchOptions) -> Iterator[None]:
    with torch.autocast(options.device.split(':')[0], torch.bfloat16, enabled=options.amp):
        yield


def _in_precision(run: Part, options: BenchOptions) -> Part:
    def wrapped() -> Any:
        with _precision(options):
            return run()

    return wrapped


def _backward(model: nn.Module, losses: Mapping[str, Any]) -> None:
    """As a training step: gradients of all losses; no optimizer, which costs the same with and without a guide."""
    model.zero_grad(set_to_none=True)
    values = [value for name, value in losses.items() if 'loss' in name]
    sum(part for value in values for part in (value if isinstance(value, (list, tuple)) else [value])).sum().backward()


def _detach(taps: Any) -> list[Tensor]:
    """Cut the student's outputs off from the student: what a term's own backward ends at."""
    leaves: list[Tensor] = []

    def cut(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor) or not leaf.requires_grad:
            return leaf
        leaves.append(leaf.detach().requires_grad_())
        return leaves[-1]

    taps._outputs = {name: pytree.tree_map(cut, output) for name, output in taps._outputs.items()}
    return leaves


def _forward(term: Any, step: Step, losses: list[Tensor]) -> None:
    losses.append(torch.stack(list(term(step).values())).sum())


def _grad(losses: list[Tensor], leaves: list[Tensor]) -> None:
    torch.autograd.grad(losses[0], leaves, retain_graph=True, allow_unused=True)


def _output_mebibytes(model: Any, data: dict, options: BenchOptions) -> float:
    """What a step must hold of the guide: its feature maps and head outputs."""
    with torch.no_grad(), _precision(options):
        taps = model._run_guide(data['inputs']['hr'])
    leaves = [leaf for name in ('features', 'head') if name in taps for leaf in pytree.tree_leaves(taps[name])]
    return sum(leaf.nbytes for leaf in leaves if isinstance(leaf, Tensor)) / 2**20
