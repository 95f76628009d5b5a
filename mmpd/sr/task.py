"""Super-resolution as a task of the chain: LR images in, HR images out, PSNR and SSIM."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmengine.config import ConfigDict

from ..chain.task import TASKS
from ..errors import ConfigError

if TYPE_CHECKING:
    from ..chain.stage import Stage


@TASKS.register_module('sr')
class SuperResolutionTask:
    """Images without labels: every network sees the LR image, the HR image is the ground truth; `SRMetric`.

    `data` of the chain: `train`, `val`, `test` are `SRFolder` configs without pipeline; `hr_scale` is the (width,
    height) of the HR training patches; `augment` are transforms of the whole HR image before a patch is cut (default:
    flips and transpose; a stage's own `augment` takes their place); `batch_size` and `num_workers` are per process.
    Test images are upscaled one at a time, whole.
    """

    scope = 'mmdet'
    imports = ('mmpd', 'mmpd.sr.register')
    best = 'pd/PSNR_Y'
    headline = ('PSNR_Y', 'SSIM_Y', 'PSNR_Y_Set5', 'PSNR_Y_Set14', 'PSNR_Y_B100')  # those that the test set has
    fractions = False  # dB
    guide_hooks = ()  # nothing to line up: guide and student see the same pixels
    guide_size = 'lr'
    data_keys = ()
    drawing = None
    stock = False  # mmdet has no super-resolution: deployed networks import mmpd

    def num_classes(self, stage: Stage) -> None:
        """Images have no classes."""

    def classes(self, stage: Stage, split: str = 'train') -> tuple[str, ...]:
        return ()

    def network(self, stage: Stage, model: ConfigDict) -> ConfigDict:
        """The network's scale is the chain's ratio.

        Raises:
            ConfigError: a stage on HR images, a ratio that is no whole number, a patch that it does not divide.
        """
        ratio = stage.ratio
        if stage.size != 'lr':
            raise ConfigError(
                f"stages.{stage.name}.size = {stage.size!r}: networks of task = 'sr' see LR images, use 'lr'"
            )
        if ratio.denominator != 1 or ratio < 2:
            raise ConfigError(f'ratio = {ratio}: super-resolution takes a whole number, at least 2')
        if any(side % int(ratio) for side in stage.data.hr_scale):
            raise ConfigError(
                f'data.hr_scale = {tuple(stage.data.hr_scale)}: the HR patch must be a multiple of ratio = '
                f'{ratio} on each side'
            )
        given = model.backbone.get('scale', int(ratio))
        if given != ratio:
            raise ConfigError(
                f'stages.{stage.name}: backbone.scale = {given}, but ratio = {ratio}: leave it out, the chain sets it'
            )
        model.backbone.scale = int(ratio)
        return model

    def train_pipeline(self, stage: Stage) -> list[dict]:
        """Everything random at HR, then an aligned patch and its reduction."""
        return [
            dict(type='LoadImageFromFile'),
            *stage.augment([dict(type='FlipTranspose')]),
            self._pair(stage, patch=tuple(stage.data.hr_scale)),
            dict(type='PackSRInputs', paired=stage.guide is not None),
        ]

    def test_pipeline(self, stage: Stage) -> list[dict]:
        """Whole HR images through the same reduction."""
        return [dict(type='LoadImageFromFile'), self._pair(stage), dict(type='PackSRInputs')]

    def deploy_pipeline(self, stage: Stage) -> list[dict]:
        """Native LR images."""
        return [dict(type='LoadImageFromFile'), dict(type='PackSRInputs')]

    def deploy_train_pipeline(self, stage: Stage) -> list[dict]:
        """LR images alone teach no upscaling."""
        return []

    def evaluator(self) -> dict:
        return dict(type='SRMetric')

    def deploy_evaluator(self, dataset: dict) -> dict:
        return self.evaluator()

    def _pair(self, stage: Stage, **patch: tuple[int, int]) -> dict:
        return dict(type='AlignedPair', ratio=str(stage.ratio), operator=stage.reduction, **patch)
