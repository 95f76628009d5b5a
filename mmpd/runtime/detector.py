"""A deployed detector: image files in, boxes in the files' own pixels out."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

import numpy as np

from ..errors import ConfigError, DataError
from ..paths import model_path
from .backends import BACKENDS, DoesNotFit, Raw, check_fit
from .description import Description, read_description
from .images import Prepared, Reduce, prepare, read_image


@dataclass(frozen=True)
class Prediction:
    """Result on one image.

    Attributes:
        seen: (h, w, 3) uint8 RGB, the network's input before normalisation and padding.
        boxes: (n, 4) x1, y1, x2, y2 in pixels of the image file. scores: (n,) in 0..1, falling. labels: (n,).
        source: 'hr' where the image was reduced as in training, else 'lr'.
    """

    seen: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    source: str = 'lr'


class Backend(Protocol):
    """What runs a network: (h, w, 3) uint8 RGB images of any sizes as one batch."""

    def __call__(self, images: Sequence[np.ndarray]) -> list[Raw]: ...


class Detector:
    """A student, from a deploy folder or an exported file.

    Args:
        model: the name of a model that mmpd brings (`voc_lite0_160`), an .onnx (gzipped or not) or (OpenVINO) .xml file
            written by `export`, or a folder with `deploy.json` (its .onnx file if it has one, else its weights, which
            need mmpd with torch and mmdet).
        threads: of the network; None leaves it to the library.
        device: of weights: 'cpu', 'cuda', …; exported files run on the CPU.
        source: 'lr', 'hr' or 'auto', as `images.prepare`.

    Raises:
        DataError, CheckpointError: no such file, or not a detector.
    """

    def __init__(
        self, model: str | Path, threads: int | None = None, device: str | None = None, source: str = 'auto'
    ) -> None:
        self.source = source
        model = model_path(model)
        file = locate(model)
        if file.suffix in BACKENDS:
            if device not in (None, 'cpu'):
                raise ConfigError(f'--device {device}: {file.name} runs on the CPU here; give the weights instead')
            backend = BACKENDS[file.suffix](file, threads)
            self.description = read_description(model) if Path(model).is_dir() else backend.description()
            self.backend = cast(Backend, backend)
            self.reduce: Reduce | None = None
        else:
            from ..evaluation.predict import open_weights, reduce_hr

            self.description, self.reduce = read_description(file.parent), reduce_hr
            self.backend = open_weights(file, self.description, threads, device)

    @classmethod
    def of(cls, description: Description, backend: Backend, reduce: Reduce | None, source: str = 'auto') -> Detector:
        """A detector of parts that are there already."""
        detector = cls.__new__(cls)
        detector.description, detector.backend, detector.reduce, detector.source = description, backend, reduce, source
        return detector

    @property
    def classes(self) -> tuple[str, ...]:
        return self.description.classes

    def __call__(self, images: Sequence[str | Path | np.ndarray]) -> list[Prediction]:
        """Detect in image files, or in (h, w, 3) uint8 RGB arrays, as one batch.

        Raises:
            DataError: a file is missing or no image.
        """
        return self.detect([self.prepare(image) for image in images])

    def prepare(self, image: str | Path | np.ndarray) -> Prepared:
        """The first half of a call: read and resize. Safe to run in another thread.

        Raises:
            DataError: no image, too thin, or larger than the one size that an exported file takes.
        """
        pixels = image if isinstance(image, np.ndarray) else read_image(image)
        prepared = prepare(pixels, self.description, self.source, self.reduce)
        if self._fixed:
            check_fit([prepared.image], self._fixed)
        return prepared

    def that_fit(self, paths: Sequence[str | Path]) -> list[str | Path]:
        """The images that it takes: an exported file of one size takes none that lies the other way."""
        if not self._fixed:
            return list(paths)
        fitting = []
        for path in paths:
            with suppress(DoesNotFit):
                self.prepare(path)
                fitting.append(path)
        return fitting

    @property
    def _fixed(self) -> tuple[int, int] | None:
        """(height, width) of the one size that the backend takes, if it does not take any."""
        return getattr(self.backend, 'fixed', None)

    def detect(self, images: Sequence[Prepared]) -> list[Prediction]:
        """The second half of a call: the network on one batch."""
        found = self.backend([one.image for one in images])
        return [
            Prediction(one.image, (boxes / np.tile(one.scale, 2)).astype(np.float32), scores, labels, one.source)
            for one, (boxes, scores, labels) in zip(images, found, strict=True)
        ]


def locate(model: str | Path) -> Path:
    """The file to run of a model: .onnx, .xml or weights.

    Raises:
        DataError: no such file or model, or nothing to run in the folder.
    """
    path = model_path(model)
    if path.is_file():
        return path
    description = read_description(path)
    names = [name for name in (description.onnx, description.weights) if name]
    for name in names:
        if (path / name).is_file():
            return path / name
    raise DataError(f'{path} holds none of {names}, which its deploy.json names')
