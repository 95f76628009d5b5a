"""`tools/check.py --guide-ap` and `--oracle`: what a guide still knows through the alignment of a stage, measured on
`data.val`, and whether it speaks where the student is trained to listen, on `data.train`."""

from __future__ import annotations

from pathlib import Path

from mmdet.registry import DATASETS
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.runner import Runner

from ..align.guide_ap import GuideAP, guide_ap
from ..align.oracle import OracleCheck, oracle_check
from ..align.positives import annotated_images
from ..chain.stage import Stage
from ..chain.stage_config import stage_config
from ..errors import ConfigError
from ..nested import walk_dicts
from .preflight import build_stage, quiet
from .pyramids import N_ORACLE


def measure_guide(stage: Stage, checkpoint: str, device: str = 'cpu') -> GuideAP:
    """AP of a stage's guide on `data.val`, by itself and through the stage's alignment.

    Args:
        stage: one with a guide. checkpoint: weights of that guide.

    Raises:
        ConfigError: a stage without guide, or without dense responses to compare.
    """
    if not stage.guide:
        raise ConfigError(f'stages.{stage.name} has no guide, so it has no alignment to measure')
    config = stage_config(stage, Path('work_dirs'), {stage.guide.name: checkpoint})
    with quiet(), DefaultScope.overwrite_default_scope(config.default_scope):
        model = build_stage(config, checkpoint, None).to(device)
        loader = Runner.build_dataloader(pair_loader(config))
        return guide_ap(model, loader, stage.task.classes(stage))


def measure_oracle(stage: Stage) -> tuple[str, OracleCheck | None]:
    """An oracle guide through a stage's alignment, on its training images: the plan's kind, and what was counted."""
    config = stage_config(stage, Path('work_dirs'), {})
    with quiet(), DefaultScope.overwrite_default_scope(config.default_scope):
        alignment = build_stage(config, None, None).alignment
        dataset = DATASETS.build(config.train_dataloader.dataset)
        return alignment.plan.kind, oracle_check(alignment, annotated_images(dataset, N_ORACLE))


def pair_loader(config: Config) -> dict:
    """The val loader of a stage, giving pairs: HR kept, ground truth in original pixels."""
    loader = Config(config.to_dict()).val_dataloader
    for part in walk_dicts(loader.dataset):
        for step in part.get('pipeline') or []:
            if step['type'] == 'ReduceResolution':
                step['keep_hr'] = True
            elif step['type'].startswith('Pack'):
                step.clear()
                step['type'] = 'PackPairedInputs'
    return loader
