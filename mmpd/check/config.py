"""Preflight, part 1: traps that can be read from a stage's config alone (DESIGN §3.6, §7)."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from mmdet.registry import METRICS
from mmengine.config import Config

from ..chain.detector import nothing_frozen, pad_divisor
from ..nested import bare_type, walk_dicts
from .finding import Finding, error, warning

NEEDS_MORE = {
    'FastRCNN': "another detector's proposals",
    'GLIP': 'captions',
    'GroundingDINO': 'captions',
    'YOLACT': 'masks',
    'RTMDetInsHead': 'masks',
    'RTMDetInsSepBNHead': 'masks',
    'BoxInst': 'masks',
    'CondInst': 'masks',
    'SOLO': 'masks',
    'SOLOv2': 'masks',
    'MaskFormer': 'masks',
    'Mask2Former': 'masks',
    'PanopticFPN': 'masks',
    'CLRNet': 'lanes',
    'SoftTeacher': 'images without boxes',
    'Detectron2Wrapper': "detectron2's own data",
    'BaseReID': 'cut-out persons',
    **dict.fromkeys(
        ('ByteTrack', 'DeepSORT', 'MaskTrackRCNN', 'Mask2FormerVideo', 'OCSORT', 'QDTrack', 'StrongSORT'), 'videos'
    ),
    'LAD': 'a second network inside it',
    'KnowledgeDistillationSingleStageDetector': 'a second network inside it',
}

FILTERS = {'filter_empty_gt', 'min_size', 'bbox_min_size'}
FILTERED = {'PDVOCDataset', 'PDYOLODataset', 'CocoDataset', 'VOCDataset', 'XMLDataset'}
"""What these data sets read in `filter_cfg`; `bbox_min_size` is an error of its own."""


def config_findings(config: Config, name: str) -> list[Finding]:
    """Every trap in the config of stage `name`, an ordinary mmengine config as `stage_config` makes it, but for
    `input_findings`."""
    return [
        *_network_traps(config, name),
        *_data_traps(config),
        *_pipeline_traps(config),
        *_hook_traps(config),
        *_chosen_by_nothing(config),
        *_schedule_traps(config, name),
    ]


def trained_detector(model: dict) -> dict:
    """The config of the network that a stage trains: the student of a Distiller, or the model itself."""
    return model.get('student', model)


def input_findings(config: Config, name: str) -> Iterator[Finding]:
    """Detectors that learn from more than images and boxes, which is all that a chain loads: they cannot be tried."""
    detector = trained_detector(config.model)
    kind = bare_type(detector)
    for key, part in (('mask_head', detector), ('roi_head.mask_head', detector.get('roi_head') or {})):
        if part.get('mask_head'):
            yield error(
                f'stages.{name}.overrides.{key}',
                f'{kind} learns masks, and a chain loads boxes; set it to None, in a RoI head '
                'mask_roi_extractor, too, or take the box detector of its family',
            )
    head = detector.get('bbox_head')
    for part in (detector, head if isinstance(head, dict) else {}):
        if bare_type(part) in NEEDS_MORE:
            yield error(
                f'stages.{name}.detector',
                f'{bare_type(part)} learns from {NEEDS_MORE[bare_type(part)]}, which a chain does not give it',
            )


def _network_traps(config: Config, name: str) -> Iterator[Finding]:
    detector = trained_detector(config.model)
    backbone = detector.get('backbone') or {}
    prefix = f'stages.{name}.overrides.backbone'
    nothing = nothing_frozen(backbone)
    frozen = backbone.get('frozen_stages', nothing)
    terms = [bare_type(term) for term in (config.model.get('terms') or {}).values() if term]
    pretrained = bool(backbone.get('init_cfg'))
    if frozen > nothing and 'ISRDTerm' in terms:
        yield error(
            f'{prefix}.frozen_stages = {frozen}',
            f'no gradient reaches the stem, so ISRD does nothing; set it to {nothing}, or remove terms.isrd',
        )
    elif frozen > nothing and not pretrained:
        yield error(
            f'{prefix}.frozen_stages = {frozen}',
            f'these stages keep their random weights, nothing pretrained is loaded; set it to {nothing}',
        )
    for part in walk_dicts(backbone):
        weights = str(part.get('checkpoint', '')) if part.get('type') == 'Pretrained' else ''
        if weights and '://' not in weights and not Path(weights).is_file():
            yield error(
                f'{prefix}.init_cfg.checkpoint = {weights!r}',
                'no such file, and the stage would stop as it begins; name the file of the pretrained weights, or '
                'train from scratch with pretrained = False',
            )
    if backbone.get('norm_eval'):
        # a student that starts from its guide has statistics of HR images, whatever it was pretrained on
        other_size = config.model.get('ratio', '1') not in ('1', 1)
        yield Finding(
            other_size or not pretrained,
            f'{prefix}.norm_eval = True',
            'batch norm keeps the statistics of other images (another size, or none at all); set it to False',
        )


def _datasets(config: Config, split: str) -> list[dict]:
    """Dataset configs of a split, without their wrappers."""
    loader = config.get(f'{split}_dataloader') or {}
    return [part for part in walk_dicts(loader.get('dataset') or {}) if 'ann_file' in part]


def _data_traps(config: Config) -> Iterator[Finding]:
    if (config.get('train_dataloader') or {}).get('persistent_workers'):
        yield error(
            'train_dataloader.persistent_workers = True',
            'such workers never learn of a new epoch, so every epoch would see the same augmentation, and a resumed '
            'run another one; leave it out',
        )
    for split in ('train', 'val', 'test'):
        for part in _datasets(config, split):
            unknown = set(part.get('filter_cfg') or {}) - FILTERS
            if unknown and bare_type(part) in FILTERED:
                yield error(
                    f'data.{split}.filter_cfg has {sorted(unknown)}',
                    f'{bare_type(part)} passes over it; it reads {sorted(FILTERS - {"bbox_min_size"})}',
                )
            small = (part.get('filter_cfg') or {}).get('bbox_min_size') or part.get('bbox_min_size')
            if small:
                yield error(
                    f'data.{split}.filter_cfg.bbox_min_size = {small}',
                    'boxes with a side below it are '
                    'dropped in silence, the small objects that this is about; remove it',
                )


def _pipeline_traps(config: Config) -> Iterator[Finding]:
    for part in _datasets(config, 'train'):
        steps = [bare_type(step) for step in part.get('pipeline') or []]
        if 'ReduceResolution' in steps:
            after = [step for step in steps[steps.index('ReduceResolution') + 1 :] if not step.startswith('Pack')]
            if after:
                yield error(
                    f'data.augment (train pipeline) has {after} after ReduceResolution',
                    'it changes one size of the pair and not the other; move it before',
                )
        cached = [step for step in steps if step.startswith('Cached')]
        if cached:
            yield warning(
                f'data.augment has {cached}',
                'its cache depends on the order of loading, so a resumed run differs from an uninterrupted one',
            )


def _hook_traps(config: Config) -> Iterator[Finding]:
    for hook in config.get('custom_hooks') or []:
        if bare_type(hook) == 'PipelineSwitchHook':
            yield error(
                'custom_hooks has PipelineSwitchHook',
                'it would swap in a pipeline without pairs in the middle of the training; remove it',
            )
        if bare_type(hook) == 'EMAHook' and hook.get('strict_load') is False:
            yield warning(
                'custom_hooks EMAHook.strict_load = False', 'weights that do not fit are left out in silence; remove it'
            )


def _chosen_by_nothing(config: Config) -> Iterator[Finding]:
    """A metric that the evaluator does not have is missed at the first validation, after hours."""
    known = _metrics(config.get('val_evaluator') or [])
    wanted = {'save_best': (config.get('default_hooks') or {}).get('checkpoint', {}).get('save_best')}
    for hook in config.get('custom_hooks') or []:
        if bare_type(hook) == 'EarlyStoppingHook':  # it goes on for ever, with a warning each time
            wanted['custom_hooks EarlyStoppingHook.monitor'] = hook.get('monitor')
    for key, chosen in wanted.items():
        if not known or not isinstance(chosen, str) or (key, chosen) == ('save_best', 'auto'):
            continue
        if not any(fnmatchcase(chosen, name) for name in known):
            yield error(f'{key} = {chosen!r}', f'there is no such metric; use one of {", ".join(known)}')


def _metrics(evaluators: dict | list[dict]) -> list[str]:
    """Names, or patterns of them, of what evaluators compute; [] where one does not say."""
    known = []
    for evaluator in [evaluators] if isinstance(evaluators, dict) else evaluators:
        kind: Any = METRICS.get(evaluator['type']) if isinstance(evaluator['type'], str) else evaluator['type']
        prefix = evaluator.get('prefix') or getattr(kind, 'default_prefix', None)
        if not prefix:
            return []
        known += [f'{prefix}/{name}' for name in getattr(kind, 'choices', '*')]
    return known


def _schedule_traps(config: Config, name: str) -> Iterator[Finding]:
    loop = config.get('train_cfg') or {}
    epochs = loop.get('max_epochs', 0)
    if loop and not epochs:
        yield error(
            f'stages.{name}.runner.train_cfg.type = {loop.get("type")!r}',
            'a stage and its schedule are counted in epochs; leave it out, and set schedule.max_epochs',
        )
        return
    schedulers = config.get('param_scheduler') or []
    for scheduler in [schedulers] if isinstance(schedulers, dict) else schedulers:
        milestones = scheduler.get('milestones') if scheduler.get('by_epoch', True) else None
        if milestones and min(milestones) >= epochs:
            yield warning(
                f'schedule.milestones = {list(milestones)}',
                f'the training ends before, after {epochs} epochs, and the learning rate never falls; scale them with '
                'schedule.max_epochs',
            )


def padding_finding(guide: str, model: dict, checkpoint: str) -> Finding | None:
    """A warning where `bench.py` beside a guide's weights pads images otherwise than this chain does.

    Args:
        guide: name of its stage. model: its model config in this chain. checkpoint: file of its weights.
    """
    bench = Path(checkpoint).parent / 'bench.py'
    if not bench.is_file():
        return None
    trained, here = pad_divisor(Config.fromfile(bench).model), pad_divisor(model)
    if trained == here:
        return None
    return warning(
        f'stages.{guide}.overrides.data_preprocessor.pad_size_divisor',
        f'{checkpoint} was trained on images padded to multiples of {trained}, here they are padded to multiples of '
        f'{here}: what it says near the borders differs; set it to {trained}',
    )


def ema_finding(config: Config, iterations: int) -> Finding | None:
    """A warning where the averaged weights, which are validated and deployed, cannot forget their start in time."""
    for hook in config.get('custom_hooks') or []:
        momentum: Any = hook.get('momentum', 0.0002)
        if bare_type(hook) == 'EMAHook' and iterations * momentum < 1:
            return warning(
                f'custom_hooks EMAHook.momentum = {momentum}',
                f'the average reaches back {1 / momentum:.0f} iterations, the training has {iterations}; raise it',
            )
    return None
