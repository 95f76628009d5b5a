"""Static int8 of an exported file (ONNX Runtime), calibrated on training images; AP of any precision beside fp32's."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from mmengine.registry import init_default_scope

from ..chain.datasets import innermost
from ..errors import ConfigError
from ..evaluation.deployed import measure_detector
from ..runtime.detector import Detector
from .deploy_folder import Source
from .export import Exported, test_images
from .onnx_file import save_onnx
from .proof import Latency, latency

CALIBRATION_IMAGES = 100
LAYERS = ('Conv', 'Gemm', 'Relu', 'Clip')
"""Boxes, scores and NMS stay in fp32. An activation after a convolution is named so that the result's 256 steps span
what the activation leaves (0..6 of ReLU6), and not what it cuts off."""


@dataclass(frozen=True)
class Precision:
    """One precision of an exported file: metrics on the test set (fractions 0..1), latency, size in bytes."""

    name: str
    metrics: dict[str, float]
    latency: Latency
    size: int


def quantise(source: Source, exported: Exported, images: Sequence[str | Path]) -> Path:
    """Write `<name>.int8.onnx` beside the fp32 file.

    Args:
        images: to calibrate on, such as `training_images`.
    """
    import onnx

    detector = Detector(exported.onnx, exported.latencies[-1].threads, source='hr' if source.reduces else 'lr')
    target = exported.onnx.with_suffix('.int8.onnx')
    write_int8(exported.onnx, target, _inputs(detector, detector.that_fit(images)))
    save_onnx(onnx.load(target), dataclasses.replace(detector.description, onnx=target.name), target)
    return target


def write_int8(file: Path, target: Path, inputs: Iterable[dict[str, np.ndarray]]) -> None:
    """A graph with int8 weights, per channel, and uint8 between `LAYERS`; ranges as seen on `inputs`."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.feed = iter(inputs)

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.feed, None)

    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # it warns of each node, and asks for a preparation that our graph has had
    try:
        quantize_static(
            str(file),
            str(target),
            Reader(),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=list(LAYERS),
        )
    finally:
        root.setLevel(level)


def side_by_side(source: Source, exported: Exported, others: Mapping[str, Path]) -> list[Precision]:
    """AP on the test set (on what fits, where a file takes one size), latency and size of the fp32 file, then of the
    `others`, by name."""
    config, threads = source.bench or source.deploy, exported.latencies[-1].threads
    images, found = test_images(source)[:30], []
    for name, file in {'fp32': exported.onnx, **others}.items():
        one = Detector(file, threads, source='hr' if source.reduces else 'lr')
        prepared = [one.prepare(path) for path in one.that_fit(images)]
        time = latency(name, one.backend, prepared, threads)
        found.append(Precision(name, measure_detector(one, config).metrics, time, file.stat().st_size))
    return found


def _inputs(detector: Detector, paths: Sequence[str | Path]) -> Iterator[dict[str, np.ndarray]]:
    for path in paths:
        image = detector.prepare(path).image
        size = image.shape[:2]  # what a file of one size pads is no image to it
        if detector.description.fixed:
            width, height = detector.description.fixed
            image = np.pad(image, ((0, height - image.shape[0]), (0, width - image.shape[1]), (0, 0)))
        yield dict(images=image[None], sizes=np.array([size], np.int64))


def training_images(source: Source) -> list[str]:
    """`CALIBRATION_IMAGES` files of the source's training set, evenly spaced.

    Raises:
        ConfigError: the source does not name one.
    """
    if source.train is None:
        raise ConfigError(
            'int8 is calibrated on training images, and only a stage folder or a chain config names them: give one'
        )
    init_default_scope(source.deploy.get('default_scope', 'mmdet'))
    files = source.files(innermost(source.train))
    return files[:: max(1, len(files) // CALIBRATION_IMAGES)][:CALIBRATION_IMAGES]
