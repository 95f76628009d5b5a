"""Preflight: build every stage of a chain and run one step of it, before anything is trained (DESIGN §3.6).

`check_stages` looks at everything and returns a report (tools/check.py prints it); `preflight` is the quick form that
tools/train.py runs before the first iteration of each stage.
"""

from __future__ import annotations

import contextlib
import time
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from mmdet.models.detectors import BaseDetector
from mmdet.registry import DATASETS
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.logging import MessageHub, MMLogger
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import MODELS, DefaultScope
from rich.console import Console
from rich.markup import escape
from torch import nn

from ..align.positives import N_IMAGES
from ..chain.detector import drop_pretrained
from ..chain.stage import Stage
from ..chain.stage_config import init_file, stage_config
from ..errors import CheckpointError, ConfigError, DataError
from ..io.read import check_classes
from ..io.state import load_into
from .annotations import annotation_findings
from .config import config_findings, ema_finding, input_findings, padding_finding
from .data import class_findings, read_train_data, real_batches
from .environment import environment_findings
from .finding import Finding, StageCheck, error, warning
from .heads import guide_confidence, verify_batch, verify_queries
from .pyramids import check_pyramids
from .runner import runner_findings
from .step import input_sizes, loss_findings, loss_rows

N_BATCHES = 4
QUICK = 50
"""Training images on which the quick form counts positives; the training itself counts again, on `N_IMAGES`."""
WILD = 1e4
"""No initialiser makes a weight of this size."""
SURE = 0.1
"""Best score on a few crowded images below which a guide has learned nothing yet, whatever its file is called."""


def check_stages(
    stages: Iterable[Stage],
    checkpoints: Mapping[str, str] | None = None,
    device: str = 'cpu',
    images: int = N_IMAGES,
) -> list[StageCheck]:
    """Check stages of a chain; nothing is written, and every problem becomes a finding.

    Args:
        checkpoints: stage → file with trained weights. A stage whose guide has none is checked with a random guide.
        device: where the one step runs.
        images: on which positives are counted.
    """
    return [check_stage(stage, checkpoints or {}, device, images) for stage in stages]


def check_stage(
    stage: Stage, checkpoints: Mapping[str, str], device: str = 'cpu', images: int = N_IMAGES
) -> StageCheck:
    """Check one stage, see `check_stages`."""
    name = stage.name
    checkpoints = {**{other.name: other.given for other in stage.needs if other.given}, **checkpoints}
    check = StageCheck(name, str(stage.ratio))
    with quiet(), torch.random.fork_rng(devices=[]), _as_finding(check):
        torch.manual_seed(0)
        config = stage_config(stage, Path('work_dirs'), checkpoints)
        with DefaultScope.overwrite_default_scope(config.default_scope):
            check.findings += input_findings(config, name)
            if check.findings:
                return check
            check.findings += [*config_findings(config, name), *environment_findings(config)]
            check.findings += annotation_findings(config)
            data = read_train_data(config, stage.data.get('hr_scale'))
            check.data, check.boxes = data.reports, len(data.sizes)
            check.tiny = data.tiny(float(stage.ratio))
            check.findings += _chain_traps(stage, config, len(data.dataset))
            check.findings += class_findings(stage, data)
            guide_file = checkpoints.get(stage.guide.name) if stage.guide else None
            if stage.guide and guide_file:
                padding = padding_finding(stage.guide.name, config.model.guide, guide_file)
                check.findings += [padding] if padding else []
                check_classes(guide_file, stage.task.classes(stage))
            check.findings += _missing_start(stage)
            model = build_stage(config, guide_file, init_file(stage, checkpoints)).to(device)
            check.findings += runner_findings(config, model, data.dataset)
            check_pyramids(check, model, float(stage.ratio), data, images)
            batches = real_batches(data, config, N_BATCHES)
            check.inputs = input_sizes(model, batches[0])
            verify_queries(model, batches[0], name)
            verify_batch(model.train(), batches[0], name)
            check.losses, unreached = loss_rows(model, batches, guide_file is not None)
            sure = guide_file is not None and guide_confidence(model, batches) >= SURE
            check.findings += loss_findings(check.losses, unreached, name, sure, getattr(model, 'own_loss_weight', 1.0))
            if not check.errors:
                _try_validation(model, config)
    return check


def preflight(stages: Sequence[Stage], checkpoints: Mapping[str, str], console: Console) -> None:
    """The check that comes before training: on the device that is there, warnings printed.

    Raises:
        ConfigError: with every error found.
    """
    begin = time.time()
    checks = check_stages(stages, checkpoints, 'cuda' if torch.cuda.is_available() else 'cpu', QUICK)
    errors = [str(finding) for check in checks for finding in check.errors]
    if errors:
        raise ConfigError('the preflight found (--no-check trains anyway)\n  ' + '\n  '.join(errors))
    for warning_ in [finding for check in checks for finding in check.findings]:
        console.print(f'[yellow]preflight[/] {escape(str(warning_))}', soft_wrap=True)
    n_losses, names = sum(len(check.losses) for check in checks), ', '.join(stage.name for stage in stages)
    console.print(
        f'preflight of {names}: {n_losses} losses tried, no error, {time.time() - begin:.0f} s '
        f'(positives counted on at most {QUICK} images; mmpd check: {N_IMAGES})'
    )


@contextlib.contextmanager
def _as_finding(check: StageCheck) -> Iterator[None]:
    """What stops the check of a stage becomes its last finding; the other stages are still checked."""
    try:
        yield
    except (ConfigError, DataError, CheckpointError) as problem:
        check.findings.append(error(f'stages.{check.name}', str(problem)))
    except Exception as problem:  # what mmdet raises on a config that does not fit can be anything
        check.findings.append(error(f'stages.{check.name}', _told(problem)))


def _told(problem: Exception) -> str:
    trace = traceback.extract_tb(problem.__traceback__)
    at = trace[-1]  # an assert of mmdet says nothing but where it is
    text = f'{type(problem).__name__}: {problem} in {Path(at.filename).name}: {at.line}'.splitlines()
    return f'{" ".join(text)[:600]}{_remedy(trace)}'


def _remedy(trace: Iterable[traceback.FrameSummary]) -> str:
    """Where to look, by the part of the host in which it happened."""
    places = ' '.join(Path(frame.filename).as_posix() for frame in trace)
    if '/datasets/' in places or 'mmcv/transforms/' in places:
        return ' (look at data: the data sets, data.augment)'
    return ' (change detector or overrides)' if '/models/' in places or 'torch/nn/' in places else ''


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """mmengine logs each initialised tensor to the newest logger, and some detectors (TOOD, YOLOX) ask the newest
    message hub how far the training is: make both of our own, for a while, the hub's at the first iteration."""
    name = f'mmpd.check.preflight.{time.time_ns()}'
    MMLogger.get_instance(name, log_level='ERROR')
    hub = MessageHub.get_instance(name)
    for key, value in dict(iter=0, epoch=0, max_iters=1, max_epochs=1).items():
        hub.update_info(key, value)
    try:
        yield
    finally:
        MMLogger._instance_dict.pop(name, None)
        MessageHub._instance_dict.pop(name, None)


def build_stage(config: Config, guide_file: str | None, init_file: str | None) -> Any:
    """The stage's model, initialised without downloads: random where the training would fetch pretrained weights."""
    model_config = Config(config.to_dict()).model
    drop_pretrained(model_config)
    model = MODELS.build(model_config)
    frozen = getattr(model, 'frozen', None)
    if frozen is None or guide_file:
        model.init_weights()
    else:
        model.student.init_weights()
        frozen.module.init_weights()
        _settle(frozen.module)
        frozen.module.eval().requires_grad_(False)
        frozen.loaded = True
    _settle(model)
    if init_file and Path(init_file).is_file():
        load_into(getattr(model, 'student', model), init_file, partial=True)
    return revert_sync_batchnorm(model)  # one process trains as one: a Runner does so too


def _settle(model: nn.Module) -> None:
    """Small random weights where mmdet leaves memory as it finds it (TridentConv), which pretrained ones would fill."""
    for parameter in model.parameters():
        if not parameter.isfinite().all() or parameter.abs().max() > WILD:
            nn.init.normal_(parameter, std=0.01)


def _try_validation(model: Any, config: Config) -> None:
    """What else would stop a stage behind its first epoch, or the chain behind its last: reads the data sets of val and
    test, and predicts on two images of val. Raises what they raise."""
    val, _ = (DATASETS.build(config[f'{split}_dataloader'].dataset) for split in ('val', 'test'))
    if isinstance(getattr(model, 'student', model), BaseDetector):
        n_images = min(config.val_dataloader.batch_size, len(val), 2)
        batch = pseudo_collate([val[index] for index in range(n_images)])
        try:
            with torch.no_grad():
                model.eval().val_step(batch)
        except Exception as problem:  # as in `_as_finding`
            raise ConfigError(f'it trains, and stops at its first validation: {_told(problem)}') from problem


def _missing_start(stage: Stage) -> list[Finding]:
    """A file to start from that is not there, which would stop the stage as it begins."""
    file = stage.init_from
    if not isinstance(file, str) or '://' in file or Path(file).is_file():
        return []
    return [error(f'stages.{stage.name}.init_from = {file!r}', 'no such file; name the weights to start from')]


def _chain_traps(stage: Stage, config: Config, n_images: int) -> list[Finding]:
    """Traps that need the stage or the number of images."""
    findings = []
    if not n_images // config.train_dataloader.batch_size:
        findings.append(
            error(
                f'data.batch_size = {config.train_dataloader.batch_size}',
                f'the training set has {n_images} images, so an epoch has no full batch; lower it',
            )
        )
    iterations = n_images // config.train_dataloader.batch_size * config.train_cfg.get('max_epochs', 0)
    ema = ema_finding(config, iterations)
    detector = config.model.get('student', config.model)
    neck = detector.get('neck')
    fine = stage.pyramid == 'fine' and stage.size == 'lr' and neck
    if fine and stage.ratio >= 2 and not (isinstance(neck, dict) and 'start_level' in neck):
        findings.append(
            warning(
                "student_pyramid = 'fine'",
                f'it has no effect on the neck of stage {stage.name}, which '
                "has no start_level; write the pyramid in overrides, or say 'cheap'",
            )
        )
    return findings + ([ema] if ema else [])
