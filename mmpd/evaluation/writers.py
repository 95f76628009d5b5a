"""Networks that make an image of an image: what `mmpd infer` runs for tasks other than detection.

A task registers what it makes of an image with `@register_writer(ModelClass)`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from mmdet.registry import MODELS
from mmengine.registry import DefaultScope

from ..errors import ConfigError
from .measure import network_of
from .predict import build_network


class Writer(Protocol):
    """A network with its weights, called with an image (h, w, 3) uint8 RGB; returns another one.

    Made with the model, and with the options that the user gave beyond that.

    Attributes:
        options: names of the options that it knows.
    """

    options: tuple[str, ...]

    def __init__(self, model: Any, **options: Any) -> None: ...

    def __call__(self, image: np.ndarray) -> np.ndarray: ...


WRITERS: dict[type, type[Writer]] = {}


def register_writer(*model_types: type) -> Callable[[type], type]:
    """Register the writer of a task's models."""

    def register(writer: type) -> type:
        WRITERS.update(dict.fromkeys(model_types, writer))
        return writer

    return register


def writer_of(config: Any, weights: str | Path, device: str | None, **options: Any) -> Writer | None:
    """The writer of a config's network, with its weights; None where it makes no images.

    Raises:
        ConfigError: an option that it does not know.
        CheckpointError: the weights do not fit.
    """
    network = network_of(config)
    with DefaultScope.overwrite_default_scope(network.config.get('default_scope', 'mmdet')):
        model = MODELS.get(network.config.model.type)
    kind = next((WRITERS[base] for base in getattr(model, '__mro__', ()) if base in WRITERS), None)
    if kind is None:
        return None
    for name in options:
        if name not in kind.options:
            raise ConfigError(
                f'--{name.replace("_", "-")} is no option for {network.config.model.type}, which makes images: it has '
                f'{["--" + known for known in kind.options]}'
            )
    return kind(build_network(network, weights, device), **options)
