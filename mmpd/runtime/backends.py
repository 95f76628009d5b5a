"""What runs an exported file: ONNX Runtime or OpenVINO, on the CPU; neither needs torch."""

from __future__ import annotations

import gzip
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import CheckpointError, ConfigError, DataError
from .description import METADATA_KEY, PACKED_KEY, Description

Raw = tuple[np.ndarray, np.ndarray, np.ndarray]
"""boxes (n, 4) in pixels of the network's input, scores (n,), labels (n,); best first."""


class DoesNotFit(DataError):
    """An image is larger than the one size that an exported file takes (it lies the other way, say)."""


class GraphBackend:
    """Images of any sizes as the one batch that an exported graph takes.

    Attributes:
        fixed: (height, width) of the one size that the graph takes, one image at a time; None: any.
    """

    file: str | Path
    fixed: tuple[int, int] | None

    def run(self, batch: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(b, h, w, 3) uint8 and (b, 2) int64 to boxes (b, k, 4), scores (b, k), labels (b, k); see docs/deploy.md."""
        raise NotImplementedError

    def metadata(self) -> str | None:
        """The description inside the file, None where there is none."""
        raise NotImplementedError

    def description(self) -> Description:
        """What the file says of itself.

        Raises:
            CheckpointError: it was not written by `export`.
        """
        text = self.metadata()
        if text is None:
            raise CheckpointError(
                f'{self.file} was not written by mmpd: it has no description of its classes and sizes'
            )
        return Description.from_json(text, str(self.file))

    def __call__(self, images: Sequence[np.ndarray]) -> list[Raw]:
        if self.fixed and len(images) > 1:
            return [found for image in images for found in self([image])]
        sizes = np.array([image.shape[:2] for image in images], np.int64)
        height, width = self.fixed or sizes.max(0)
        check_fit(images, (height, width))
        batch = np.zeros((len(images), height, width, 3), np.uint8)
        for image, place in zip(images, batch, strict=True):
            place[: image.shape[0], : image.shape[1]] = image
        boxes, scores, labels = self.run(batch, sizes)
        return [(b[s > 0], s[s > 0], n[s > 0]) for b, s, n in zip(boxes, scores, labels, strict=True)]


class OnnxBackend(GraphBackend):
    """An .onnx file of `export` in ONNX Runtime, gzipped (.onnx.gz) or not."""

    def __init__(self, file: str | Path, threads: int | None = None) -> None:
        self.file = file
        self.session = open_session(file, threads)
        if PACKED_KEY in self.session.get_modelmeta().custom_metadata_map:
            self.session = open_session(file, threads, unpack=True)
        height, width = self.session.get_inputs()[0].shape[1:3]
        self.fixed = (height, width) if isinstance(height, int) and isinstance(width, int) else None

    def metadata(self) -> str | None:
        return self.session.get_modelmeta().custom_metadata_map.get(METADATA_KEY)

    def run(self, batch: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        boxes, scores, labels = self.session.run(None, {'images': batch, 'sizes': sizes})
        return boxes, scores, labels


class OpenVinoBackend(GraphBackend):
    """An .xml file of `export --openvino`, with its .bin beside it, in OpenVINO. Single precision, also on processors
    that would compute in bfloat16.

    Raises:
        CheckpointError: the file is damaged. ConfigError: openvino is not installed.
    """

    def __init__(self, file: str | Path, threads: int | None = None) -> None:
        self.file = file
        openvino = import_openvino()
        threads = threads or int(os.environ.get('OMP_NUM_THREADS', 0))
        options = {'INFERENCE_PRECISION_HINT': 'f32', 'PERFORMANCE_HINT': 'LATENCY'}
        core = openvino.Core()
        try:
            self.model = core.read_model(str(file))
            self.compiled = core.compile_model(
                self.model, 'CPU', {**options, **({'INFERENCE_NUM_THREADS': threads} if threads else {})}
            )
        except RuntimeError as error:
            raise CheckpointError(f'{file} is damaged or no OpenVINO file: {str(error)[:200]}') from error
        shape = self.model.inputs[0].partial_shape
        sides = [shape[axis].get_length() if shape[axis].is_static else None for axis in (1, 2)]
        height, width = sides
        self.fixed = (height, width) if height and width else None

    def metadata(self) -> str | None:
        return self.model.get_rt_info([METADATA_KEY]).value if self.model.has_rt_info([METADATA_KEY]) else None

    def run(self, batch: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        found = self.compiled([batch, sizes])
        return found[0], found[1], found[2]


BACKENDS: dict[str, type[OnnxBackend] | type[OpenVinoBackend]] = {
    '.onnx': OnnxBackend,
    '.gz': OnnxBackend,
    '.xml': OpenVinoBackend,
}
"""Suffix of an exported file → what runs it."""


def check_fit(images: Sequence[np.ndarray], fixed: tuple[int, int]) -> None:
    """Raises DoesNotFit: an image is larger than `fixed`, (height, width)."""
    for image in images:
        height, width = image.shape[:2]
        if height > fixed[0] or width > fixed[1]:
            raise DoesNotFit(
                f'an image of {width}×{height} pixels for the network does not fit into the one size that this file '
                f'takes, {fixed[1]}×{fixed[0]}'
            )


def import_openvino() -> Any:
    """The module. Raises ConfigError: not installed."""
    try:
        import openvino
    except ImportError as error:
        raise ConfigError("openvino is not installed: pip install 'mmpd[openvino]', or openvino alone") from error
    return openvino


def open_session(file: str | Path, threads: int | None = None, unpack: bool = False) -> Any:
    """An onnxruntime.InferenceSession on the CPU.

    Args:
        unpack: multiply packed weights out once, here, instead of in every run.

    Raises:
        CheckpointError: the file is damaged. ConfigError: onnxruntime is not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise ConfigError("onnxruntime is not installed: pip install 'mmpd[export]', or onnxruntime alone") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or int(os.environ.get('OMP_NUM_THREADS', 0))
    options.log_severity_level = 3
    if unpack:
        options.add_session_config_entry('session.disable_quant_qdq', '1')
    try:
        content = gzip.decompress(Path(file).read_bytes()) if Path(file).suffix == '.gz' else str(file)
        return onnxruntime.InferenceSession(content, options, providers=['CPUExecutionProvider'])
    except Exception as error:  # its exceptions have no common public base
        raise CheckpointError(f'{file} is damaged or no ONNX file: {str(error)[:200]}') from error
