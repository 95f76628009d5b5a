"""What a chain config must get right before anything is built: keys, values, sizes (ours).

Each check raises ConfigError with the key, the value and what to change. What only shows when networks are built is
the preflight's (`mmpd.check.preflight`).
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any

from ..data.sizes import lr_size
from ..errors import ConfigError
from ..nested import bare_type, walk_dicts

# Made by the chain for every stage: a value at the top of a chain config would be overwritten without a word.
MADE_BY_THE_CHAIN = {
    'model': 'give stages.<stage>.detector and .overrides',
    'train_dataloader': 'set data.train, data.batch_size, data.num_workers, …',
    'val_dataloader': 'set data.val and data.val_batch_size',
    'test_dataloader': 'set data.test and data.val_batch_size',
    'val_evaluator': 'use stages.<stage>.runner',
    'test_evaluator': 'use stages.<stage>.runner',
    'train_cfg': 'set schedule.max_epochs and schedule.val_interval',
    'val_cfg': 'use stages.<stage>.runner',
    'test_cfg': 'use stages.<stage>.runner',
    'param_scheduler': 'set schedule.warmup_iters, schedule.milestones, or use stages.<stage>.runner',
}
# What a chain does by itself, at the top or in stages.<stage>.runner: the value would do nothing.
DONE_BY_THE_CHAIN = {
    'load_from': 'name a file of weights to start from in stages.<stage>.init_from, or a trained network in '
    'stages.<stage>.checkpoint',
    'resume': 'the same command goes on where it was cut',
    'launcher': 'use --launcher',
}
SCHEDULE_KEYS = {'max_epochs', 'warmup_iters', 'val_interval', 'milestones', 'gamma'}
MIXING = {'Mosaic', 'MixUp', 'YOLOXMixUp', 'CopyPaste'}
DATA_KEYS = {'train', 'val', 'test', 'hr_scale', 'augment', 'batch_size', 'val_batch_size', 'num_workers'}
RUNNER_KEYS = {
    'train_dataloader', 'val_dataloader', 'test_dataloader', 'train_cfg', 'val_cfg', 'test_cfg', 'auto_scale_lr',
    'optim_wrapper', 'param_scheduler', 'val_evaluator', 'test_evaluator', 'default_hooks', 'custom_hooks',
    'env_cfg', 'log_processor', 'log_level', 'visualizer', 'vis_backends', 'randomness', 'experiment_name', 'model',
    'model_wrapper_cfg', 'find_unused_parameters', 'sync_bn', 'activation_checkpointing', 'efficient_conv_bn_eval',
    'compile', 'default_scope', 'custom_imports',
}  # fmt: skip
"""Keys that mmengine's Runner reads, and that `stages.<stage>.runner` may hold."""
LOADER = 'set stages.<stage>.runner.train_dataloader.{}'
ELSEWHERE = {
    'pipeline': 'the chain makes it: give transforms at HR in data.augment',
    'train_pipeline': 'the chain makes it: give transforms at HR in data.augment',
    'test_pipeline': 'the chain makes it, see docs/config.md',
    'workers': 'set data.num_workers',
    'persistent_workers': 'leave it out: such workers never learn of a new epoch, so a resumed run would differ',
    **{key: LOADER.format(key) for key in ('sampler', 'batch_sampler', 'pin_memory')},
}
"""Keys that are not of `data` → what does it."""
KINDS: dict[str, Any] = {
    **dict.fromkeys(('student_pyramid', 'reduction', 'save_best', 'task', 'guide_cache_dir'), str),
    **dict.fromkeys(('stages', 'data', 'schedule', 'optim_wrapper', 'default_hooks', 'randomness'), Mapping),
    **dict(
        ratio=(int, float, str), pretrained=bool, guide_cache=(int, float), guide_cache_half=bool, custom_hooks=list
    ),
}
"""Key at the top of a chain → what its value is."""


def check_keys(config: Mapping[str, Any], chain_keys: Iterable[str], data_keys: Iterable[str] = ()) -> None:
    """Keys and plain values at the top of a chain config, in `data` and in `schedule`.

    The top level may hold helper variables of the file (`terms`, `ratios`) and, in a pure-Python config, imported
    names; so an unknown name there is refused only where it looks like a misspelt key: the value is one that the key
    could have, and where the key is there as well it is a plain one (`--cfg-options ratios=4`).

    Args:
        data_keys: keys of `data` that the chain's task adds.

    Raises:
        ConfigError
    """
    for key, instead in MADE_BY_THE_CHAIN.items():
        if key in config and _looks_final(key, config[key]):
            raise ConfigError(f'{key} at the top of a chain config is made by the chain for each stage: {instead}')
    _refuse_done_by_the_chain('', config)
    _refuse_misspelt(config, {*chain_keys, *KINDS})
    for key in ('data', 'schedule'):
        if not isinstance(config.get(key), Mapping):
            raise ConfigError(f'{key} = {config.get(key)!r}: a chain needs {key} = dict(…), see docs/config.md')
    _check_data(config['data'], {*DATA_KEYS, *data_keys})
    check_schedule(config['schedule'], 'schedule')
    for name, stage in config['stages'].items():
        if not re.fullmatch(r'[A-Za-z_]\w*', str(name)):
            raise ConfigError(f'stages has a stage called {name!r}: it becomes a folder and a part of keys, so use '
                              'letters, digits and _ only')  # fmt: skip
        if not isinstance(stage, Mapping):
            raise ConfigError(f'stages.{name} = {stage!r}: give dict(detector=…, size=…, …)')
        check_augment(stage.get('augment'), f'stages.{name}.augment')
        _check_runner(name, stage.get('runner') or {})
        if stage.get('schedule'):
            check_schedule({**config['schedule'], **stage['schedule']}, f'stages.{name}.schedule')


def _check_runner(name: str, runner: Mapping[str, Any]) -> None:
    _refuse_done_by_the_chain(f'stages.{name}.runner.', runner)
    for key in ('custom_imports', 'default_scope'):
        if key in runner:
            raise ConfigError(f'stages.{name}.runner.{key} does nothing in a stage: set {key} at the top of the chain')
    if 'work_dir' in runner:
        raise ConfigError(f'stages.{name}.runner.work_dir: a stage writes to <work dir>/{name}; use --work-dir')
    for key in runner:
        if key.partition('.')[0] not in RUNNER_KEYS | set(DONE_BY_THE_CHAIN):
            near = difflib.get_close_matches(key, RUNNER_KEYS, n=1, cutoff=0.7)
            instead = f'did you mean {near[0]}?' if near else f'it reads {sorted(RUNNER_KEYS)}'
            raise ConfigError(f'stages.{name}.runner.{key} is nothing that a Runner reads: {instead}')


def _looks_final(key: str, value: Any) -> bool:
    """Whether a value is one for a Runner: a helper of the config file may be called `train_cfg`, as a detector's."""
    if isinstance(value, Mapping) and not {'type', 'dataset', 'max_epochs', 'max_iters', 'val_interval'} & set(value):
        return key == 'model' or key.endswith('_dataloader')
    return isinstance(value, (list, Mapping))


def _refuse_done_by_the_chain(prefix: str, config: Mapping[str, Any]) -> None:
    """`load_from = None` and `resume = False`, as mmdet's runtime file has them, ask for nothing."""
    for key, instead in DONE_BY_THE_CHAIN.items():
        if config.get(key) and config[key] != 'none':
            raise ConfigError(f'{prefix}{key} = {config[key]!r} does nothing in a chain: {instead}')


def _refuse_misspelt(config: Mapping[str, Any], known: set[str]) -> None:
    for key, value in config.items():
        near = difflib.get_close_matches(key, known, n=1, cutoff=0.8) if key not in known else []
        helper = near and near[0] in config and isinstance(value, (Mapping, list, tuple))
        if near and not helper and isinstance(value, KINDS.get(near[0], object)):
            raise ConfigError(f'{key} is no key of a chain: did you mean {near[0]}?')


def _check_data(data: Mapping[str, Any], known: set[str]) -> None:
    for key in data:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.7)
            instead = ELSEWHERE.get(key) or (
                f'did you mean data.{near[0]}?' if near else f'its keys are {sorted(known)}'
            )
            raise ConfigError(f'data.{key} is no key of a chain, and would do nothing: {instead}')
    for split in ('train', 'val', 'test'):
        if not isinstance(data.get(split), Mapping):
            raise ConfigError(f'data.{split} = {data.get(split)!r}: give the config of a data set, without pipeline')
    check_augment(data.get('augment'), 'data.augment')
    steps = walk_dicts(data.get('augment') or [])
    mixing = sorted({str(step['type']) for step in steps if bare_type(step) in MIXING})
    if mixing:
        raise ConfigError(
            f'data.augment has {", ".join(mixing)}: it needs more than one image, and a chain gives a transform one; '
            'take the cached form (CachedMosaic, CachedMixUp) or leave it out'
        )
    scale = data.get('hr_scale')
    if not isinstance(scale, (list, tuple)) or len(scale) != 2 or not all(_is_count(side) for side in scale):
        raise ConfigError(f'data.hr_scale = {scale!r}: give (width, height) of the HR images in pixels')
    for key, least in (('batch_size', 1), ('val_batch_size', 1), ('num_workers', 0)):
        if key in data and not (_is_count(data[key]) or data[key] == least == 0):
            raise ConfigError(f'data.{key} = {data[key]!r}: give a whole number, at least {least}')
    if not isinstance(data.get('batch_by_shape', False), bool):
        raise ConfigError(f'data.batch_by_shape = {data["batch_by_shape"]!r}: give True or False')


def check_augment(augment: Any, key: str) -> None:
    """Raises ConfigError: no list of transforms; on a command line, `[dict(…)]` becomes a list of words."""
    good = isinstance(augment, (list, tuple)) and all(isinstance(one, Mapping) and 'type' in one for one in augment)
    if augment is not None and not good:
        raise ConfigError(
            f'{key} = {augment!r}: give a list of transforms, each dict(type=…), in the config file; the command line '
            f'can change one of its parts, as in {key}.0.prob=1'
        )


def check_schedule(schedule: Mapping[str, Any], key: str) -> None:
    """`schedule` of the chain, or that of a stage merged over it. Raises ConfigError."""
    unknown = set(schedule) - SCHEDULE_KEYS
    if unknown:
        raise ConfigError(f'{key} has unknown keys {sorted(unknown)}: allowed are {sorted(SCHEDULE_KEYS)}')
    for name in ('max_epochs', 'val_interval'):
        value = schedule.get(name, None if name == 'max_epochs' else 1)
        if not _is_count(value):
            raise ConfigError(f'{key}.{name} = {value!r}: give a whole number of epochs, at least 1')
    warmup = schedule.get('warmup_iters', 0)
    if not isinstance(warmup, int) or warmup < 0:
        raise ConfigError(f'{key}.warmup_iters = {warmup!r}: give a whole number of iterations, 0 for none')
    milestones = schedule.get('milestones')
    if milestones is not None and not (isinstance(milestones, (list, tuple)) and all(map(_is_count, milestones))):
        raise ConfigError(f'{key}.milestones = {milestones!r}: give a list of epochs, whole numbers')
    gamma = schedule.get('gamma')
    if gamma is not None and not (schedule.get('milestones') and isinstance(gamma, float) and 0 < gamma < 1):
        raise ConfigError(
            f'{key}.gamma = {gamma!r} is the factor of the learning rate at each of {key}.milestones: give those, and '
            'a factor between 0 and 1'
        )


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def check_num_classes(name: str, overrides: Mapping[str, Any] | None, num_classes: int | None) -> None:
    """The data decides how many classes there are. A region proposal head has its own count, 1.

    Raises:
        ConfigError
    """
    for path, value in _values(overrides or {}, 'num_classes'):
        if value != num_classes and 'rpn_head' not in path:
            raise ConfigError(
                f'stages.{name}.overrides{path} = {value!r}, but the data has {num_classes} classes '
                '(data.train.metainfo.classes): leave it out, the chain sets it'
            )


def _values(node: Any, key: str, path: str = '') -> Iterator[tuple[str, Any]]:
    if isinstance(node, Mapping):
        for name, value in node.items():
            if name == key:
                yield f'{path}.{name}', value
            yield from _values(value, key, f'{path}.{name}')
    elif isinstance(node, (list, tuple)):
        for index, value in enumerate(node):
            yield from _values(value, key, f'{path}.{index}')


def check_sizes(name: str, hr_scale: Sequence[int], ratio: Fraction, model: Mapping[str, Any]) -> None:
    """Whether the images of a stage hold at least one cell of its finest level, and are not mostly padding.

    Args:
        hr_scale: (width, height) of the HR images.
        ratio: HR side / side of the images of this stage.
        model: config of its network.

    Raises:
        ConfigError
    """
    seen = lr_size(hr_scale, ratio)
    where = f'{seen[0]}×{seen[1]} pixels (data.hr_scale = {tuple(hr_scale)}, ratio = {ratio})'
    finest = min(_strides(model), default=1)
    if min(seen) < finest:
        raise ConfigError(
            f'stages.{name} sees images of {where}, and one cell of its finest level has {finest}: lower ratio, raise '
            'data.hr_scale, or give a finer pyramid'
        )
    divisor = (model.get('data_preprocessor') or {}).get('pad_size_divisor', 1)
    padded = [-(-side // divisor) * divisor for side in seen]
    if math.prod(padded) > 2 * math.prod(seen):
        raise ConfigError(
            f'stages.{name} sees images of {where}, padded to {padded[0]}×{padded[1]} by '
            f'data_preprocessor.pad_size_divisor = {divisor}: more than half of what it sees would be padding; '
            f'lower ratio, raise data.hr_scale, or lower stages.{name}.overrides.data_preprocessor.pad_size_divisor to '
            'the stride of the coarsest level'
        )


def _strides(model: Mapping[str, Any]) -> list[int]:
    """Strides that the dense head is configured for, whatever its family."""
    for head in (model.get('bbox_head'), model.get('rpn_head')):
        if isinstance(head, Mapping):
            strides = head.get('strides') or (head.get('anchor_generator') or {}).get('strides')
            if strides:
                return [max(stride) if isinstance(stride, (list, tuple)) else stride for stride in strides]
    return []
