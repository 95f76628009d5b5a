"""Any of timm's backbones as the backbone of a detector."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmdet.registry import MODELS
from mmengine.logging import print_log
from mmengine.model import BaseModule
from torch import Tensor

from ..errors import CheckpointError, ConfigError
from ..io.read import load_checkpoint, model_state
from ..io.state import compare

INNER = 'timm_model.'


@MODELS.register_module()
class TimmBackbone(BaseModule):
    """timm's `features_only` network: an image in, one map per stride out, finest first.

    Its parameters are called `timm_model.*`, as those of mmpretrain's `TIMMBackbone`.

    Args:
        model_name: a timm model, e.g. 'tf_efficientnet_lite0'; `timm.list_models()` has them all.
        out_indices: which of its maps; (1, 2, 3, 4) has the strides 4, 8, 16, 32 in most convolutional networks.
        channels_last: run in the memory format in which depthwise convolutions are fastest; the same numbers.
        init_cfg: `dict(type='Pretrained', checkpoint=…)`: a package's weights (`package://efficientnet_lite0`, see
            `mmpd.io.package_weights`), or the file of a timm state dict. Every tensor of the network must be in it.
        **options: of `timm.create_model`. Nothing is downloaded, so `pretrained` is not among them.

    Raises:
        ConfigError: timm is not installed, has no such model, or does not give its maps.
    """

    def __init__(
        self,
        model_name: str,
        out_indices: Sequence[int] = (1, 2, 3, 4),
        channels_last: bool = True,
        init_cfg: dict | None = None,
        **options: Any,
    ) -> None:
        super().__init__(init_cfg)
        self.timm_model = _build(model_name, tuple(out_indices), options)
        self.channels_last = channels_last

    def init_weights(self) -> None:
        """Load the file that `init_cfg` names, all of the network or nothing; the log says what was read.

        timm has initialised the network when it was built, so without a file there is nothing to do.

        Raises:
            CheckpointError: the file lacks a tensor, or has one of another shape.
        """
        if not self.init_cfg or self.is_init:
            return
        file = self.init_cfg['checkpoint']
        state = model_state(load_checkpoint(file))
        if not any(key.startswith(INNER) for key in state):
            state = {INNER + key: value for key, value in state.items()}
        report = compare(self, state)
        if report.missing or report.mismatched:
            raise CheckpointError(f'backbone.init_cfg.checkpoint = {file!r} does not fit the network: {report}')
        self.load_state_dict({key: state[key] for key in report.loaded})
        print_log(f'backbone from {file}: {report}', 'current')
        self._is_init = True

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """images (B, 3, H, W) → maps (B, C_i, H/s_i, W/s_i), finest first."""
        if self.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        return tuple(self.timm_model(images))


def _build(model_name: str, out_indices: tuple[int, ...], options: dict) -> Any:
    try:
        import timm
    except ImportError as error:
        raise ConfigError("backbone.type = 'TimmBackbone' needs timm: pip install 'mmpd[weights]'") from error
    if not timm.is_model(model_name):
        near = timm.list_models(f'*{model_name.split("_")[0]}*')[:8]
        raise ConfigError(f'backbone.model_name = {model_name!r} is no model of timm {timm.__version__}; near: {near}')
    if 'pretrained' in options:
        raise ConfigError("backbone.pretrained: nothing is downloaded; give init_cfg=dict(type='Pretrained', …)")
    try:
        return timm.create_model(model_name, features_only=True, out_indices=out_indices, **options)
    except (AssertionError, IndexError, RuntimeError) as error:
        raise ConfigError(
            f'backbone.model_name = {model_name!r} does not give the maps out_indices = {out_indices}: {error}'
        ) from error
