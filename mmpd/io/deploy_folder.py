"""A deploy folder describes itself: `deploy.json` (mmpd.runtime.Description) from a stage's configs and weights."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmdet.registry import DATASETS
from mmengine.config import Config

from ..chain.datasets import innermost
from ..data.second_camera import lr_file
from ..errors import ConfigError, DataError
from ..nested import bare_type
from ..runtime.description import FILE, Description, read_description
from .read import dataset_meta, load_checkpoint
from .write import write_atomic

_QUIET = ('LoadImageFromFile', 'LoadAnnotations', 'PackDetInputs')  # change no pixel


@dataclass(frozen=True)
class Source:
    """A network to deploy.

    Attributes:
        deploy: its config on native LR images. bench: on HR images, None where that is not known.
        weights: its checkpoint.
        train: its training set's config, None where that is not known.
    """

    name: str
    deploy: Config
    bench: Config | None
    weights: Path
    train: dict | None = None

    @property
    def reduces(self) -> bool:
        """Whether it is shown HR images, which are reduced as in `bench`; else native LR ones, as in `deploy`: where
        `bench` is not known, or takes the files of a second camera."""
        return self.bench is not None and self._lr_prefix is None

    @property
    def _lr_prefix(self) -> str | None:
        from ..evaluation.measure import network_of

        camera = network_of(self.bench).second_camera if self.bench else None
        return camera[0] if camera else None

    def files(self, dataset: dict) -> list[str]:
        """The image files of a data set that the network is shown."""
        built = DATASETS.build(dataset)
        built.full_init()
        named = [built.get_data_info(index)['img_path'] for index in range(len(built))]
        prefix = self._lr_prefix
        return [str(lr_file(path, prefix)) for path in named] if prefix else named

    def describe(self) -> Description:
        """What the runtime must know.

        Raises:
            ConfigError: no detector, or a pipeline with a step that the runtime does not do.
        """
        classes = dataset_meta(load_checkpoint(self.weights)).get('classes') or _classes(self.deploy)
        return describe(self.name, self.deploy, self.bench if self.reduces else None, classes)


def find_source(
    model: str | Path, checkpoint: str | Path | None = None, stage: str | None = None, options: dict | None = None
) -> Source:
    """What a user means by a stage folder, or by a config with a checkpoint.

    Args:
        model: a stage folder (`work_dirs/pd_voc/student`), or with `checkpoint` a config: the chain's (its student, or
            `stage`), `deploy.py` or `bench.py`.
        options: merged into a config.

    Raises:
        DataError, ConfigError: files are missing.
    """
    path = Path(model)
    if path.is_dir():
        if stage or options:
            given = f'stage {stage}' if stage else f'options {" ".join(options or {})}'
            raise ConfigError(f'{given}: they are for a config, and {path} is the folder of a stage; leave them out')
        if not (path / 'deploy.py').is_file():
            inside = [one.parent for one in sorted(path.glob('*/deploy.py'))] or [path / 'student']
            raise DataError(f'{path} has no deploy.py: give the folder of a stage, such as {inside[-1]}')
        weights = Path(checkpoint) if checkpoint else _weights(path)
        bench = Config.fromfile(path / 'bench.py') if (path / 'bench.py').is_file() else None
        # a copy may have another name than the stage, whose config is <stage>.py
        name = read_description(path).name if (path / FILE).is_file() else _folder_name(path / 'deploy.py')
        train = Config.fromfile(path / f'{name}.py') if (path / f'{name}.py').is_file() else {}
        dataset = train.get('train_dataloader', {}).get('dataset')
        return Source(name, Config.fromfile(path / 'deploy.py'), bench, weights, dataset)
    if checkpoint is None:
        raise ConfigError(f'{path} is no folder: give the stage folder, or a config and --checkpoint')
    from ..chain.chain import is_chain
    from ..evaluation.measure import read_config

    config = read_config(path, options)
    if is_chain(config):
        return _from_chain(config, stage, Path(checkpoint))
    bench = read_config(path.parent / 'bench.py') if (path.parent / 'bench.py').is_file() else None
    deploy = path.parent / 'deploy.py'
    if path.name == 'bench.py' and deploy.is_file():
        return Source(_folder_name(path), read_config(deploy), config, Path(checkpoint))
    return Source(_folder_name(path), config, bench, Path(checkpoint))


def _from_chain(config: Config, stage: str | None, weights: Path) -> Source:
    from ..chain.chain import read_chain
    from ..chain.deploy import bench_config, deploy_config
    from ..evaluation.measure import check_pixels, network_of

    chain = read_chain(config)
    meant = chain.stage(stage) if stage else chain.final
    check_pixels(config, network_of(config, meant.name), weights)
    return Source(meant.name, deploy_config(meant), bench_config(meant), weights, config.data.train)


def _folder_name(file: Path) -> str:
    return file.resolve().parent.name


def _weights(folder: Path) -> Path:
    """The plain weights of a stage folder: the file that `done.json` names, else the one there is."""
    done = folder / 'done.json'
    if done.is_file():
        named = folder / str(json.loads(done.read_text())['checkpoint'])
        if named.is_file():
            return named
    found = sorted([*folder.glob('*_best.pth'), *folder.glob('*_last.pth'), *folder.glob('student.pth')])
    if not found:
        raise DataError(f'{folder} has no weights (*_best.pth, *_last.pth, student.pth): give --checkpoint')
    return found[0]


def describe(name: str, deploy: Config, bench: Config | None, classes: Sequence[str]) -> Description:
    """Read a description from the two configs of a stage."""
    if deploy.get('default_scope', 'mmdet') != 'mmdet':
        raise ConfigError(f'{name} is of the task {deploy.default_scope}: only detectors can be deployed this way')
    size, _, _ = read_pipeline(_pipeline(deploy))
    hr_size, ratio, reduction = read_pipeline(_pipeline(bench)) if bench else (None, '1', 'area')
    cfg = deploy.model.get('test_cfg') or {}
    cfg = cfg.get('rcnn') or cfg
    return Description(
        name=name,
        classes=tuple(classes),
        size=size,
        hr_size=hr_size,
        ratio=ratio,
        reduction=reduction,
        score_threshold=float(cfg.get('score_thr', 0.0)),
        iou_threshold=float((cfg.get('nms') or {}).get('iou_threshold', 1.0)),  # 1: none is suppressed
        max_per_image=int(cfg.get('max_per_img', 100)),
    )


def read_pipeline(pipeline: Sequence[dict]) -> tuple[tuple[int, int], str, str]:
    """(width, height) that images are resized into, ratio and operator of the reduction after that ('1' without one).

    Raises:
        ConfigError: a step that the runtime does not do.
    """
    size, ratio, reduction = None, '1', 'area'
    for step in pipeline:
        kind = bare_type(step)
        if kind == 'Resize' and step.get('keep_ratio') and 'scale' in step and size is None:
            size = (int(step['scale'][0]), int(step['scale'][1]))
        elif kind == 'ReduceResolution':
            ratio, reduction = str(step['ratio']), step.get('operator', 'area')
        elif kind not in _QUIET:
            raise ConfigError(
                f'the test pipeline has {dict(step)}, which the runtime does not do: it knows one '
                'Resize(scale=(width, height), keep_ratio=True) and ReduceResolution'
            )
    if size is None:
        raise ConfigError(
            'the test pipeline has no Resize(scale=(width, height), keep_ratio=True): what size is it for?'
        )
    return size, ratio, reduction


def write_description(description: Description, folder: str | Path) -> None:
    """`deploy.json` of a folder, atomically."""
    write_atomic(description.to_json().encode(), Path(folder) / FILE)


def describe_stage(folder: str | Path) -> None:
    """Write `deploy.json` into the folder of a finished stage, so that `infer` needs the folder alone.

    A network that the runtime does not prepare images for (another task) gets none.
    """
    source = find_source(folder)
    try:
        description = source.describe()
    except ConfigError:
        return
    write_description(dataclasses.replace(description, weights=source.weights.name, config='deploy.py'), folder)


def _pipeline(config: Config) -> Sequence[dict[str, Any]]:
    from ..evaluation.measure import network_of

    return network_of(config).pipeline


def _classes(config: Config) -> Sequence[str]:
    from ..evaluation.measure import network_of

    dataset = innermost(network_of(config).config.test_dataloader.dataset)
    classes = dataset.get('metainfo', {}).get('classes')
    if not classes:
        raise ConfigError('neither the checkpoint nor the config names the classes: set metainfo.classes of the data')
    return classes
