"""Weights behind one of mmengine's prefixes (`torchvision://`, `https://`, …)."""

from __future__ import annotations

from typing import Any

from mmengine.runner.checkpoint import CheckpointLoader

from ..errors import CheckpointError


def load_url_checkpoint(url: str, map_location: Any = 'cpu') -> dict:
    """What is behind one of mmengine's prefixes (`torchvision://resnet18`, `https://…`). Raises CheckpointError."""
    try:
        content = CheckpointLoader.load_checkpoint(url, map_location)
    except KeyError as error:
        raise CheckpointError(f"{url}: no such model in mmengine's list ({error})") from error
    if not isinstance(content, dict):
        raise CheckpointError(f'{url} is no checkpoint: it holds a {type(content).__name__}, not a dict of weights')
    return content
