"""Data set configs of a chain: wrappers, pipelines, class names, dataloaders."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from mmengine.config import ConfigDict

from ..data.classes import coco_classes, read_classes, yolo_classes
from ..errors import ConfigError
from ..nested import bare_type

if TYPE_CHECKING:
    from .stage import Stage

SELF_SEEDED = ('SeededDataset', 'PDVOCDataset', 'PDYOLODataset')
"""Data sets whose samples depend on (seed, epoch, index) already; as the outermost they need no other around them."""

NO_CLASSES = {'CLASSES', 'Classes', 'class', 'class_names', 'names'}
"""Keys of `metainfo` under which somebody meant class names; the type's own would be taken without a word."""


def walk_datasets(dataset: dict) -> Iterator[dict]:
    """A data set config and all that it wraps (ConcatDataset, RepeatDataset, …), outermost first."""
    yield dataset
    for part in [dataset['dataset']] if 'dataset' in dataset else dataset.get('datasets', []):
        yield from walk_datasets(part)


def leaves(dataset: dict) -> list[Any]:
    """The data sets that read files, without their wrappers."""
    return [part for part in walk_datasets(dataset) if 'dataset' not in part and 'datasets' not in part]


def innermost(dataset: dict) -> Any:
    """The first of `leaves`."""
    return leaves(dataset)[0]


def dataloaders(stage: Stage) -> dict[str, Any]:
    """train, val and test dataloaders of a stage. Workers are made anew each epoch, which a resumed run repeats."""
    task, data = stage.task, stage.data
    workers = data.get('num_workers', 2)
    common = dict(num_workers=workers, persistent_workers=False, drop_last=False)
    loaders: dict[str, Any] = dict(
        train_dataloader=dict(
            **{**common, 'drop_last': True},
            batch_size=data.get('batch_size', 8),
            sampler=dict(type='DefaultSampler', shuffle=True),
            dataset=seeded(with_pipeline(data.train, task.train_pipeline(stage))),
        )
    )
    if data.get('batch_by_shape'):
        train = loaders['train_dataloader']
        train['batch_sampler'] = dict(type='mmdet.ShapeBatchSampler', drop_last=train.pop('drop_last'))
    for split in ('val', 'test'):
        loaders[f'{split}_dataloader'] = dict(
            **common,
            batch_size=data.get('val_batch_size', data.get('batch_size', 8)),
            sampler=dict(type='DefaultSampler', shuffle=False),
            dataset=with_pipeline(data[split], task.test_pipeline(stage), test_mode=True),
        )
    return loaders


def seeded(dataset: ConfigDict) -> ConfigDict:
    """A training set whose samples depend on seed, epoch and index alone: SeededDataset around what is not so itself.

    It must be the outermost: a PDVOCDataset inside RepeatDataset would repeat the very same augmentations.
    """
    if bare_type(dataset) in SELF_SEEDED:
        return dataset
    return ConfigDict(type='mmdet.SeededDataset', dataset=dataset)


def with_pipeline(dataset: dict, pipeline: list[dict], **extra: Any) -> ConfigDict:
    """A data set config, wrapped or not, with its pipeline (and other keys) inside.

    Raises:
        ConfigError: MultiImageMixDataset, which needs a second pipeline around the first.
    """
    dataset = copy.deepcopy(ConfigDict(dataset))
    for part in walk_datasets(dataset):
        if bare_type(part) == 'MultiImageMixDataset':
            raise ConfigError(
                'MultiImageMixDataset in data: it runs a pipeline on samples that have gone through one, and a chain '
                'puts its one pipeline, the reduction included, into the innermost data set. Leave the wrapper out; of '
                'Mosaic and MixUp take the cached forms in data.augment (CachedMosaic, CachedMixUp)'
            )
    for part in leaves(dataset):
        part.update(pipeline=copy.deepcopy(pipeline), **extra)
        _own_names(part)
    for part in walk_datasets(dataset):
        if len({bare_type(leaf) for leaf in part.get('datasets', [])}) > 1:
            part.setdefault(
                'ignore_keys', ['palette', 'dataset_type', 'ignored']
            )  # of two types; class names must agree
    return dataset


def _own_names(part: dict) -> None:
    """Names from a file are written out, and where a type has fewer colours than names, so are colours. In place.

    What a COCO file marks as a crowd is one in the metric, too (`PDMetric`); elsewhere `ignore_flag` means difficult.
    """
    names = _names_of(part, 'metainfo.classes')
    if bare_type(part) == 'CocoDataset':
        part['metainfo'] = ConfigDict({'ignored': ['crowd'], **(part.get('metainfo') or {})})
    palette = _known(part).get('palette')
    if names is None or (names == _known(part).get('classes') and 'metainfo' not in part):
        return
    part['metainfo'] = ConfigDict({**(part.get('metainfo') or {}), 'classes': names})
    if palette is not None and 'palette' not in part['metainfo'] and len(palette) < len(names):
        from mmdet.visualization import get_palette

        part['metainfo']['palette'] = get_palette('random', len(names))


def _names_of(part: dict, key: str) -> tuple[str, ...] | None:
    """Class names of one data set, in label order: those given in `metainfo`, else those of its annotation file (COCO,
    YOLO), else its type's own; None where neither is.

    mmdet's CocoDataset falls back to COCO's 80 names, and so drops every object of one's own file in silence.
    """
    metainfo = part.get('metainfo') or {}
    for other in set(metainfo) & NO_CLASSES:
        raise ConfigError(f'{key.removesuffix("classes")}{other} = {metainfo[other]!r} is read by nobody: write {key}')
    given = metainfo.get('classes')
    if given is not None:
        return read_classes(given, key)
    if bare_type(part) == 'PDYOLODataset':
        return yolo_classes(part.get('data_root'), part.get('ann_file', 'data.yaml'))
    if bare_type(part) == 'CocoDataset':
        in_file = coco_classes(part.get('data_root'), part.get('ann_file', ''))
        if in_file is not None:
            return in_file
    known = _known(part).get('classes')
    return None if known is None else read_classes(known, key)


def _known(part: dict) -> dict:
    """METAINFO of a data set's type: names and colours that it has by itself."""
    from mmdet.registry import DATASETS

    kind = part.get('type', '')
    return getattr(kind if isinstance(kind, type) else DATASETS.get(str(kind)), 'METAINFO', None) or {}


def class_names(dataset: dict, key: str) -> tuple[str, ...]:
    """Class names of a split, in label order: see `_names_of`; () where there are none.

    Args:
        dataset: config, wrapped or not. key: its place in the chain config, for the error.

    Raises:
        ConfigError: names that cannot be used, or other names, or another order, in two joined data sets.
    """
    names: dict[tuple[str, ...], str] = {}
    for part in leaves(dataset):
        own = _names_of(part, f'{key}.metainfo.classes')
        if own is not None:
            names.setdefault(own, f'{bare_type(part)} {part.get("ann_file", "")}')
    if len(names) > 1:
        (first, one), (second, other) = list(names.items())[:2]
        raise ConfigError(
            f'{key} joins data sets that number their classes differently: {one} has {first}, {other} has {second}. '
            'Give both the same metainfo=dict(classes=(…))'
        )
    return next(iter(names), ())


def moved_labels(part: dict, names: tuple[str, ...], categories: tuple[str, ...]) -> str:
    """What is wrong with the categories of a COCO file for a data set config with the class names `names`; '' if
    nothing: mmdet numbers classes in the order of the file, and drops a name that the file lacks."""
    lacking = [name for name in names if name not in categories]
    in_file = tuple(name for name in categories if name in names)
    if lacking:
        likely = [difflib.get_close_matches(name, categories, n=1) for name in lacking]
        hint = ', '.join(f'{match[0]!r} for {name!r}' for name, match in zip(lacking, likely, strict=True) if match)
        return (
            f'{part["ann_file"]} has no category {lacking}, and {bare_type(part)} would move the labels after it: its '
            f'categories are {list(categories)}' + (f'; write {hint}' if hint else '')
        )
    if in_file != names:
        return (
            f'{names} are in another order in {part["ann_file"]}, and {bare_type(part)} numbers them as the file does: '
            f'write {in_file} in every split, or reorder the categories of the file'
        )
    return ''


def check_labels(dataset: dict, names: tuple[str, ...]) -> None:
    """Labels of a data set config, wrapped or not, are those of the class names `names`.

    Raises:
        ConfigError: a COCO file in it moves them, see `moved_labels`.
    """
    for part in leaves(dataset):
        if bare_type(part) == 'CocoDataset':
            categories = coco_classes(part.get('data_root'), part.get('ann_file', ''))
            wrong = moved_labels(part, names, categories) if categories else ''
            if wrong:
                raise ConfigError(f'metainfo.classes: {wrong}')


def stock_dataset(dataset: ConfigDict) -> ConfigDict:
    """The same data set in mmdet's own classes: `init_detector` builds it for the palette, where mmpd is unknown."""
    for part in walk_datasets(dataset):
        if part.get('type') == 'PDVOCDataset':
            part['type'] = 'VOCDataset'
            part.setdefault('data_prefix', dict(sub_data_root=''))
            for key in ('unknown_classes', 'seed'):
                part.pop(key, None)
        if part.get('type') == 'PDYOLODataset':  # mmdet reads no YOLO text: names and colours are all it gets
            names = _names_of(part, 'metainfo.classes')
            kept = {key: part[key] for key in ('pipeline', 'test_mode', 'metainfo') if key in part}
            part.clear()
            part.update(type='CocoDataset', ann_file='', **kept)
            part['metainfo'] = ConfigDict({**kept.get('metainfo', {}), 'classes': names})
    return dataset
