"""A detector as an ONNX file, or an OpenVINO one, with its description inside."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from ..errors import ConfigError
from ..runtime.backends import import_openvino
from ..runtime.description import METADATA_KEY, PACKED_KEY, Description
from .onnx_graph import DetectorGraph

OPSET = 17
INPUTS, OUTPUTS = ('images', 'sizes'), ('boxes', 'scores', 'labels')


def write_onnx(model: Any, description: Description, file: Path, simplify: bool = True) -> None:
    """Export a detector with its description inside.

    Raises:
        ConfigError: a package is missing, or the detector cannot be exported; says why.
    """
    try:
        import onnx
        import onnxslim
    except ImportError as error:
        raise ConfigError(f"{error.name} is not installed: pip install 'mmpd[export]'") from error
    graph = DetectorGraph(model)
    width, height = description.fixed or padded(description.size, model)
    count = 1 if description.fixed else 2
    images = torch.randint(0, 256, (count, height, width, 3), dtype=torch.uint8, generator=torch.Generator())
    sizes = torch.tensor([[height, width], [height - 1, width - 1]])[:count]
    batch = {name: {0: 'batch'} for name in (*INPUTS, *OUTPUTS)}
    batch['images'] |= {1: 'height', 2: 'width'}
    with _quiet():
        torch.onnx.export(
            graph,
            (images, sizes),
            str(file),
            dynamo=False,  # the NMS and the dynamic sizes are written for the tracer
            opset_version=OPSET,
            input_names=list(INPUTS),
            output_names=list(OUTPUTS),
            dynamic_axes=None if description.fixed else batch,
        )
    content = onnx.load(file)
    if simplify:
        content = onnxslim.slim(content)
    save_onnx(content, description, file)


def save_onnx(content: Any, description: Description, file: str | Path, packed: bool = False) -> None:
    """Write a graph with its description inside, and whether its weights are packed (see `pack.py`)."""
    import onnx

    marks = {PACKED_KEY: '1'} if packed else {}
    onnx.helper.set_model_props(content, {METADATA_KEY: description.to_json(), **marks})
    onnx.checker.check_model(content)
    onnx.save(content, file)


def write_openvino(onnx: Path, description: Description, xml: Path) -> None:
    """`xml` and, beside it, its weights, of an .onnx file; single precision, with the description inside.

    Raises:
        ConfigError: openvino is not installed.
    """
    module = import_openvino()
    content = module.Core().read_model(str(onnx))
    content.set_rt_info(description.to_json(), [METADATA_KEY])
    module.save_model(content, str(xml), compress_to_fp16=False)


def padded(size: tuple[int, int], model: Any) -> tuple[int, int]:
    """(width, height) that the network pads images of a size to."""
    divisor = model.data_preprocessor.pad_size_divisor
    width, height = (-(-side // divisor) * divisor for side in size)
    return width, height


@contextmanager
def _quiet() -> Iterator[None]:
    """The tracer warns of every shape that the graph handles on purpose."""
    logger = logging.getLogger('torch.onnx')
    level = logger.level
    logger.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        yield
    logger.setLevel(level)
