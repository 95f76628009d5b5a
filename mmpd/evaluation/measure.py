"""Measure one network: from a config and a checkpoint to its metrics on a split, with an ordinary mmengine Runner."""

from __future__ import annotations

import logging
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from ..chain.chain import CHAIN_KEYS, is_chain, read_chain
from ..chain.datasets import check_labels, innermost
from ..chain.deploy import bench_config
from ..chain.detector import pad_divisor
from ..chain.keys import DONE_BY_THE_CHAIN, RUNNER_KEYS
from ..chain.task import TASKS
from ..chain.values import check_options, check_options_of_one
from ..data.reduction import parse_ratio
from ..errors import ConfigError
from ..io.read import check_classes
from ..io.state import load_into
from ..nested import bare_type
from ..run.launch import join, model_wrapper
from ..run.progress import ProgressHook

_KEPT = ('default_scope', 'custom_imports', 'env_cfg', 'test_cfg', 'test_evaluator', 'test_dataloader')

READ_BY_A_COMMAND = ('rkd', 'demo_set')
"""Keys of a chain that `mmpd ablate` and `mmpd demo` read."""


@dataclass(frozen=True)
class Network:
    """A plain network and the data that it is measured on.

    Attributes:
        name: stage name, or the config's file name.
        config: `model` is the plain network (never a Distiller), `test_dataloader` the split that was asked for.
    """

    name: str
    config: Config

    @property
    def pipeline(self) -> list[dict]:
        """Transforms of the split, from the file to what the network sees."""
        return innermost(self.config.test_dataloader.dataset).pipeline

    @property
    def knows_hr(self) -> bool:
        """Whether the pipeline tells HR pixels: it reduces HR images, rather than reading LR ones."""
        return any(bare_type(transform) == 'ReduceResolution' for transform in self.pipeline)

    @property
    def second_camera(self) -> tuple[str, Fraction] | None:
        """(`lr_prefix`, ratio) where the pipeline takes a second camera's LR files in the place of reduced HR ones."""
        for transform in self.pipeline:
            prefix, ratio = transform.get('lr_prefix'), parse_ratio(transform.get('ratio', 1))
            if bare_type(transform) == 'ReduceResolution' and prefix and ratio != 1:
                return prefix, ratio
        return None


@dataclass(frozen=True)
class Measurement:
    """Metrics of a network, as fractions 0..1 under their names without prefix ('AP50'); `per_class` as
    `PDMetric.per_class` ({} for another task's metrics, and on every rank but the first); `without`: AP without one
    group of images after the other, where `PDMetric.groups` asks for it."""

    metrics: dict[str, float]
    per_class: dict[str, dict[str, float]] = field(default_factory=dict)
    without: list[float] = field(default_factory=list)


def read_config(path: str | Path, options: dict | None = None) -> Config:
    """A config file with `--cfg-options` merged in.

    Raises:
        ConfigError: no such file, it (or a base of it) cannot be read, or options that do not fit or nobody reads.
    """
    if not Path(path).is_file():
        raise ConfigError(f'CONFIG = {str(path)!r}: no such file')
    folder = str(Path(path).resolve().parent)
    if folder not in sys.path:
        sys.path.append(folder)  # what `custom_imports` names may lie beside the config
    try:
        with _warnings_only():  # it tells of every environment variable
            config = Config.fromfile(path)
    except Exception as error:  # it runs the user's Python, and what its bases and custom_imports name
        text = ' '.join(str(error).split(', the current sys.path')[0].split())
        raise ConfigError(f'CONFIG = {str(path)!r} cannot be read: {type(error).__name__}: {text}') from error
    known = {*RUNNER_KEYS, *DONE_BY_THE_CHAIN, 'work_dir'}
    if is_chain(config):
        check_options(options or {}, config, {*known, *CHAIN_KEYS, *READ_BY_A_COMMAND})
    else:
        check_options_of_one(options or {}, config, known, CHAIN_KEYS)
    try:
        config.merge_from_dict(options or {})
    except (TypeError, KeyError, IndexError, AttributeError, ValueError) as error:
        raise ConfigError(
            f'--cfg-options {" ".join(options or {})}: {type(error).__name__}: {error}; a part of a list is named by '
            'its number (data.augment.0.prob=1), and a list is replaced as a whole by "[…]"'
        ) from error
    return config


@contextmanager
def _warnings_only() -> Iterator[None]:
    """mmengine's current logger tells warnings and errors only, while the block runs."""
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel(max(level, logging.WARNING))
    try:
        yield
    finally:
        logger.setLevel(level)


def network_of(config: Config, stage: str | None = None, split: str = 'test') -> Network:
    """The network that a config means.

    Args:
        config: a chain (its student is meant, or `stage`), a stage's dumped config (the student of its Distiller is
            meant), `bench.py`, `deploy.py`, or any mmdet config with a test set.
        stage: of a chain only.
        split: 'test' or 'val': which of the config's dataloaders.

    Raises:
        ConfigError: no such stage or split, or `stage` given for a config that is no chain.
    """
    if is_chain(config):
        chain = read_chain(config)
        meant = chain.stage(stage) if stage else chain.final
        plain, name = bench_config(meant), meant.name
        plain.env_cfg = config.get('env_cfg', {})
    else:
        if stage:
            raise ConfigError(f'--stage {stage}: this config is no chain (it has no `stages`); leave --stage out')
        plain, name = Config(config.to_dict()), Path(config.filename or 'network').stem
    loader = plain.get(f'{split}_dataloader')
    if loader is None:
        raise ConfigError(f'{split}_dataloader is missing in the config: --split {split} has nothing to measure on')
    plain.test_dataloader = loader
    if bare_type(plain.model) == 'Distiller':
        plain.model = plain.model.student
    if not _of_a_task(plain.get('test_evaluator')) and plain.get('default_scope', 'mmdet') == 'mmdet':
        plain.test_evaluator = dict(type='PDMetric')
    plain.test_cfg = plain.get('test_cfg') or dict(type='TestLoop')
    return Network(name, Config({key: plain[key] for key in ('model', *_KEPT) if plain.get(key) is not None}))


def check_pixels(config: Config, network: Network, checkpoint: str | Path) -> None:
    """Weights fit a network at every image size, so a chain with another ratio would give wrong numbers.

    Args:
        config: what `network` was made of.

    Raises:
        ConfigError: `config` is a chain, and `bench.py` beside the checkpoint prepares its images in another way.
    """
    bench = Path(checkpoint).parent / 'bench.py'
    if not is_chain(config) or not bench.is_file():
        return
    measured = network_of(Config.fromfile(bench))
    trained = measured.pipeline
    divisors = [pad_divisor(one.config.model) for one in (network, measured)]
    if divisors[0] != divisors[1]:
        raise ConfigError(
            f'{checkpoint} was trained on images padded to multiples of {divisors[1]}, and this config pads to '
            f'multiples of {divisors[0]}: set data_preprocessor.pad_size_divisor in the overrides of its stage, or '
            f'give {bench} as the config'
        )
    for ours, theirs in zip(network.pipeline, trained, strict=False):
        different = [key for key in ours if ours[key] != theirs.get(key)]
        if different:
            key = different[0]
            raise ConfigError(
                f'{checkpoint} was trained with {theirs["type"]}({key}={theirs.get(key)!r}), and this config gives it '
                f'{ours["type"]}({key}={ours[key]!r}): add the --cfg-options of the training (ratio, reduction, '
                f'data.hr_scale), or give {bench} as the config'
            )


def measure(
    config: Config,
    checkpoint: str | Path,
    split: str = 'test',
    launcher: str = 'none',
    stage: str | None = None,
    show_dir: str | Path | None = None,
) -> Measurement:
    """Run a network over a split.

    Args:
        config, stage, split: as `network_of`.
        checkpoint: plain weights or a Runner checkpoint, also of a Distiller.
        launcher: as mmengine has them: 'none', 'pytorch', 'slurm', 'mpi'.
        show_dir: draw ground truth and predictions (score ≥ 0.3) of each image into this folder.

    Raises:
        CheckpointError: the file is damaged or does not fit the network.
        ConfigError: as `network_of` and `check_pixels`; or it was trained on other classes than those of the split,
            or the split's COCO file numbers them otherwise.
    """
    network = network_of(config, stage, split)
    check_pixels(config, network, checkpoint)
    join(launcher, **config.get('env_cfg', {}).get('dist_cfg', {}))
    with tempfile.TemporaryDirectory(prefix='mmpd-test-') as work_dir:
        runner = Runner.from_cfg(_runner_config(network, work_dir, launcher, show_dir))
        runner.register_hook(ProgressHook())
        model: Any = runner.model.module if is_model_wrapper(runner.model) else runner.model
        classes = runner.test_dataloader.dataset.metainfo.get('classes') or ()
        check_labels(network.config.test_dataloader.dataset, tuple(classes))
        check_classes(checkpoint, classes)
        load_into(model, checkpoint)
        metrics = {key.rpartition('/')[2]: float(value) for key, value in runner.test().items()}
        ours = next((one for one in runner.test_loop.evaluator.metrics if getattr(one, 'per_class', None)), None)
    return Measurement(metrics, getattr(ours, 'per_class', {}), getattr(ours, 'without', []))


def _runner_config(network: Network, work_dir: str, launcher: str, show_dir: str | Path | None) -> Config:
    config = Config(network.config.to_dict())
    config.update(
        work_dir=work_dir,
        launcher=launcher,
        log_level='WARNING',
        experiment_name=f'test_{time.time_ns()}',  # mmengine keeps one logger per name for the whole process
    )
    wrapper = model_wrapper()
    if wrapper:
        config.model_wrapper_cfg = wrapper
    if show_dir is not None:
        config.visualizer = dict(type='DetLocalVisualizer', name=f'visualizer_{time.time_ns()}')
        config.default_hooks = dict(
            visualization=dict(type='DetVisualizationHook', draw=True, test_out_dir=str(Path(show_dir).resolve()))
        )
    return config


def _of_a_task(evaluator: dict | list | None) -> bool:
    """Whether an evaluator is what some task measures with, rather than one of mmdet's own."""
    ours = {task().evaluator()['type'] for task in TASKS.module_dict.values()}
    return isinstance(evaluator, dict) and evaluator.get('type') in ours
