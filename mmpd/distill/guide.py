"""The guide: a frozen network held outside the module tree."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import torch
from mmdet.registry import MODELS

from ..errors import CheckpointError
from ..io.state import load_into


class Frozen:
    """Holds a network so that nothing can train, save, average or re-initialise it.

    It is no `nn.Module`: as a child of the Distiller the guide would be in every state dict, optimizer, EMA copy and
    DDP buffer, and `Runner.train()` would call its `init_weights()` and re-randomise it. What must still reach it
    (`.to()`, `.half()`) is forwarded by `Distiller._apply`. A deep copy (mmengine's EMAHook makes one) shares it.

    Args:
        config: model config of the guide.
        checkpoint: file with its weights, read by `load()`.
    """

    def __init__(self, config: dict, checkpoint: str | None) -> None:
        self._config = json.dumps(config, sort_keys=True, default=str)
        self.module: Any = MODELS.build(config)
        self.module.eval().requires_grad_(False)
        self.checkpoint = checkpoint
        self.loaded = False

    def load(self) -> None:
        """Load the weights from the file.

        Raises:
            CheckpointError: no file given, or it does not fit.
        """
        if not self.checkpoint:
            raise CheckpointError(
                'guide_checkpoint is None: a guide without trained weights teaches nothing; name its file'
            )
        load_into(self.module, self.checkpoint)
        self.module.eval().requires_grad_(False)
        self.loaded = True

    def digest(self) -> str:
        """Of the architecture and of every parameter and buffer as they are now: two guides never share it."""
        digest = hashlib.blake2b(self._config.encode(), digest_size=16)
        for name, tensor in self.module.state_dict().items():
            digest.update(f'{name} {tensor.dtype} {tuple(tensor.shape)}'.encode())
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()

    def __deepcopy__(self, memo: dict[int, Any]) -> Frozen:
        return self

    @torch.no_grad()
    def apply_to_tensors(self, fn: Any) -> None:
        """What `nn.Module._apply` does for a child: move or cast parameters and buffers."""
        self.module._apply(fn)
        module: Any
        for module in self.module.modules():
            # mmengine's preprocessors remember their device beside their buffers
            if hasattr(module, '_device') and isinstance(getattr(module, 'mean', None), torch.Tensor):
                module._device = module.mean.device
