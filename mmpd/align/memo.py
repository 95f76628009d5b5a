"""What the alignment worked out for an image that may come back; `mmpd.distill.guide_cache` keeps it."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Protocol

import torch
from torch import Tensor


class Memo(Protocol):
    """Memory of one batch."""

    def recall(self, key: Hashable, device: torch.device) -> tuple[Tensor | None, Tensor | None]:
        """Both tensors (B, …) that `remember` got for the images of this batch; None, None unless all are known."""

    def remember(self, key: Hashable, values: tuple[Tensor, Tensor]) -> None:
        """Keep two tensors (B, …), row by row for each image."""
