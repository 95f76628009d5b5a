"""Hash of what decides a stage's result."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ..chain.keys import RUNNER_KEYS
from ..data.voc.dataset import read_split
from ..data.yolo import label_file, split_images
from ..errors import DataError
from ..nested import walk_dicts

MOVED = {'mmpd.run.progress': 'mmpd.progress'}
"""Modules that configs name and that had another name once: they count under the old one, as in finished stages."""

NO_RESULT = ('work_dir', 'launcher', 'env_cfg', 'log_level', 'log_processor', 'visualizer', 'vis_backends')
LOADING = ('num_workers', 'persistent_workers', 'pin_memory', 'prefetch_factor')
LOGGING = ('logger', 'timer', 'visualization')
"""Keys of a stage's config, of its dataloaders, and of its default hooks, that no result depends on."""


def fingerprint(config: Config, old: bool = False) -> str:
    """Hash of what decides a stage's result.

    The files that the stage loads (guide, start) count by their content, so a stage is not taken for finished when its
    guide has changed; so do the files that list a data set's images, and its labels, not where it lies. Paths of the
    stage's own work dir do not count, so a chain can be moved; nor do helper variables of the config file, how data is
    loaded and progress is logged, so a stage can go on with fewer workers.

    Args:
        old: as before labels counted, and when helper variables and the logging did.
    """
    inits = [hook for hook in config.get('custom_hooks', []) if str(hook['type']).endswith('InitFromHook')]
    loaded = [config.model.get('guide_checkpoint'), *(hook['checkpoint'] for hook in inits)]
    hashes = {str(file): _hash(Path(file)) for file in loaded if file and Path(file).is_file()}
    content = _portable(_content(config, old), hashes, f'{Path(config.work_dir).parent}/')
    text = json.dumps(content, sort_keys=True, default=str, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def is_of(config: Config, recorded: str | None) -> bool:
    """Whether a recorded fingerprint, of now or an old one, is that of a config."""
    return recorded == fingerprint(config) or recorded == fingerprint(config, old=True)


def data_fingerprint(config: Config, split: str) -> str:
    """Hash of what a config measures on: a split's data set and its labels, not where it lies."""
    text = json.dumps(_content(config)[f'{split}_dataloader'], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _hash(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _portable(node: Any, hashes: Mapping[str, str], root: str) -> Any:
    """A nested config with the hashes of files in the place of their names, and without the folder `root` in others."""
    if isinstance(node, dict):
        return {key: _portable(value, hashes, root) for key, value in node.items()}
    if isinstance(node, (list, tuple)):
        return [_portable(value, hashes, root) for value in node]
    return hashes.get(node, node.replace(root, '')) if isinstance(node, str) else node


def _content(config: Config, old: bool = False) -> dict[str, Any]:
    """What of a stage's config decides its result, but for the content of the weights that it loads."""
    content = {key: value for key, value in config.to_dict().items() if key not in NO_RESULT}
    if not old:
        content = {key: value for key, value in content.items() if key in {*RUNNER_KEYS, 'data_preprocessor'}}
        hooks = {key: value for key, value in (content.get('default_hooks') or {}).items() if key not in LOGGING}
        (hooks.get('checkpoint') or {}).pop('max_keep_ckpts', None)
        content['default_hooks'] = hooks
    for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        content[loader] = {key: value for key, value in (content.get(loader) or {}).items() if key not in LOADING}
    for part in walk_dicts(content):
        listed = Path(part.get('data_root') or '', part.get('ann_file') or '')
        if part.get('ann_file') and listed.is_file():
            if not old:
                prefix = (part.get('data_prefix') or {}).get('sub_data_root') or ''
                folder = Path(part.get('data_root') or '', prefix, part.get('ann_subdir') or 'Annotations')
                part['labels'] = labels_hash(listed, part.get('split') or 'train', folder)
            part.update(ann_file=_hash(listed), data_root=None)
        if 'guide_cache' in part:
            # how much is kept, and where, changes nothing; that the guide sees one image at a time changes rounding
            folder = part.pop('guide_cache_dir', None)
            part['guide_cache'] = bool(part['guide_cache'] or folder)
    imports = content.get('custom_imports', {}).get('imports', [])
    content['custom_imports'] = {**content.get('custom_imports', {}), 'imports': [MOVED.get(n, n) for n in imports]}
    return content


@cache
def labels_hash(listed: Path, split: str, folder: Path) -> str | None:
    """Hash of the label texts of a YOLO split, or of the XMLs of a VOC split, with the names of their images; None of
    another data set. Thousands of files: each data set is read once, until `labels_hash.cache_clear()`.

    Args:
        listed: the data.yaml, or the file that lists a split.
        split: of the data.yaml.
        folder: of the XMLs.
    """
    files: list[Path] = []
    with suppress(DataError):  # the data set itself says what is wrong, when it is built
        if listed.suffix in ('.yaml', '.yml'):
            files = [label_file(image) for image in split_images(listed, split)]
        elif listed.suffix == '.txt' and folder.is_dir():
            files = [folder / f'{image_id}.xml' for image_id in read_split(listed)]
    total = hashlib.sha256()
    for file in files:
        content = file.read_bytes() if file.is_file() else b''
        total.update(f'{file.name} {len(content)}\n'.encode() + content)
    return total.hexdigest() if files else None


def differences(old: Config, new: Config, shown: int = 4) -> list[str]:
    """'key: old → new' of what differs between two configs of one stage and decides its result; [] where only the files
    that it loads do."""
    before, after = (dict(_flat(_content(config))) for config in (old, new))
    keys = [key for key in {**before, **after} if before.get(key, _ABSENT) != after.get(key, _ABSENT)]
    keys = [key for key in keys if not key.endswith(('guide_checkpoint', 'custom_imports.imports.0'))]
    lines = [f'{key}: {_short(before.get(key, _ABSENT))} → {_short(after.get(key, _ABSENT))}' for key in keys[:shown]]
    return lines + ([f'and {len(keys) - shown} more'] if len(keys) > shown else [])


_ABSENT = 'not there'


def _flat(node: Any, path: str = '') -> Iterator[tuple[str, Any]]:
    """(dotted key, value) of every leaf of a nested config."""
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, (list, tuple)) else None
    if children is None or not node:
        yield path, node
        return
    for key, value in children:
        yield from _flat(value, f'{path}.{key}' if path else str(key))


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else f'{text[:37]}…'
