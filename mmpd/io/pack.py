"""Weights of an .onnx file stored in 8 bits, computed with in float32: a quarter of the file, nothing to calibrate."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from ..runtime.description import METADATA_KEY, Description
from .onnx_file import save_onnx

PACKED_NODES = ('Conv', 'Gemm', 'MatMul')
LEAST = 1024
"""Smaller tensors (biases, scales) stay as they are."""


def pack_weights(source: str | Path, target: str | Path) -> None:
    """Write `target`: every large weight w of `source` as round(w / s) in int8, s = max |w| / 127 of its first axis.

    The graph multiplies them back (`DequantizeLinear`), so every runtime of opset 13 or later computes in float32.
    The description inside stays, but for the name of the file. Ours.

    Args:
        source: written by `export`.
    """
    import onnx
    from onnx import helper, numpy_helper

    content = onnx.load(source)
    graph = content.graph
    used = {name for node in graph.node if node.op_type in PACKED_NODES for name in node.input[1:2]}
    nodes, tensors = [], []
    for tensor in graph.initializer:
        weight = numpy_helper.to_array(tensor)
        if tensor.name not in used or weight.dtype != np.float32 or weight.size < LEAST:
            tensors.append(tensor)
            continue
        largest = np.abs(weight).reshape(len(weight), -1).max(axis=1)
        scale = np.where(largest > 0, largest / 127, 1).astype(np.float32)
        codes = np.rint(weight / scale.reshape(-1, *[1] * (weight.ndim - 1))).astype(np.int8)
        names = [f'{tensor.name}.codes', f'{tensor.name}.scale']
        tensors += [numpy_helper.from_array(codes, names[0]), numpy_helper.from_array(scale, names[1])]
        nodes.append(helper.make_node('DequantizeLinear', names, [tensor.name], axis=0))
    nodes += graph.node
    for kept, field in ((tensors, graph.initializer), (nodes, graph.node)):
        del field[:]
        field.extend(kept)
    [inside] = (entry.value for entry in content.metadata_props if entry.key == METADATA_KEY)
    description = Description.from_json(inside, str(source))
    save_onnx(content, dataclasses.replace(description, onnx=Path(target).name), target, packed=True)
