"""Weights stored in 8 bits: a quarter of the file, the same network up to the rounding of its weights."""

import dataclasses
import gzip

from mmpd.errors import CheckpointError
from mmpd.io.pack import pack_weights
from mmpd.runtime.backends import BACKENDS, OnnxBackend
from mmpd.runtime.description import METADATA_KEY, PACKED_KEY, Description

import numpy as np
import pytest

onnx = pytest.importorskip('onnx')
onnxruntime = pytest.importorskip('onnxruntime')

DESCRIPTION = Description(
    name='student', classes=('a',), size=(8, 8), hr_size=None, ratio='2', reduction='area', score_threshold=0.05,
    iou_threshold=0.5, max_per_image=10, onnx='student.onnx',
)  # fmt: skip


@pytest.fixture
def network(tmp_path):
    """A convolution on the image, its mean over places as scores; (file, weights, bias)."""
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(64, 3, 3, 3)).astype(np.float32) * np.logspace(-3, 1, 64)[:, None, None, None]
    weights, bias = weights.astype(np.float32), rng.normal(size=64).astype(np.float32)
    weights[5] = 0
    make = onnx.helper
    nodes = [
        make.make_node('Cast', ['images'], ['float'], to=onnx.TensorProto.FLOAT),
        make.make_node('Transpose', ['float'], ['x'], perm=[0, 3, 1, 2]),
        make.make_node('Conv', ['x', 'w', 'b'], ['y'], pads=[1, 1, 1, 1]),
        make.make_node('ReduceMean', ['y'], ['scores'], axes=[2, 3], keepdims=0),
    ]
    graph = make.make_graph(
        nodes,
        'net',
        [make.make_tensor_value_info('images', onnx.TensorProto.UINT8, ['batch', 'height', 'width', 3])],
        [make.make_tensor_value_info('scores', onnx.TensorProto.FLOAT, ['batch', 64])],
        [onnx.numpy_helper.from_array(value, name) for value, name in ((weights, 'w'), (bias, 'b'))],
    )
    model = make.make_model(graph, opset_imports=[make.make_opsetid('', 17)], ir_version=9)
    make.set_model_props(model, {METADATA_KEY: DESCRIPTION.to_json()})
    onnx.save(model, tmp_path / 'student.onnx')
    return tmp_path / 'student.onnx', weights, bias


def test_every_channel_is_rounded_to_its_own_127_steps(network, tmp_path):
    """Oracle: the definition on the weights themselves."""
    file, weights, bias = network
    packed = tmp_path / 'student.packed.onnx'
    pack_weights(file, packed)
    image = np.random.default_rng(1).integers(0, 256, (1, 6, 7, 3)).astype(np.uint8)
    [exact] = onnxruntime.InferenceSession(str(file)).run(None, {'images': image})
    [found] = onnxruntime.InferenceSession(str(packed)).run(None, {'images': image})
    step = np.abs(weights).max(axis=(1, 2, 3)) / 127
    padded = np.pad(image[0].astype(np.float64), ((1, 1), (1, 1), (0, 0)))
    bound = (
        step
        / 2
        * sum(  # each weight is off by half a step at most
            padded[row : row + 6, column : column + 7].sum() for row in range(3) for column in range(3)
        )
        / (6 * 7)
    )
    assert (np.abs(found - exact)[0] <= bound + 1e-3).all() and np.abs(found - exact).max() > 0
    assert found[0, 5] == pytest.approx(bias[5])  # a channel of zeros has no scale to divide by


def test_it_says_so_in_the_file_and_is_a_quarter(network, tmp_path):
    file, weights, _ = network
    packed = tmp_path / 'student.packed.onnx'
    pack_weights(file, packed)
    assert file.stat().st_size - packed.stat().st_size > weights.nbytes * 0.6  # small here; a quarter where it counts
    backend = OnnxBackend(packed)
    assert backend.description() == dataclasses.replace(DESCRIPTION, onnx=packed.name)
    assert PACKED_KEY in backend.session.get_modelmeta().custom_metadata_map
    assert backend.fixed is None


def test_small_tensors_stay(network, tmp_path):
    file, _, bias = network
    pack_weights(file, tmp_path / 'packed.onnx')
    tensors = onnx.load(tmp_path / 'packed.onnx').graph.initializer
    kept = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in tensors}
    assert (kept['b'] == bias).all() and kept['w.codes'].dtype == np.int8 and 'w' not in kept


def test_a_gzipped_file_is_the_same_network_and_a_cut_one_is_refused(network, tmp_path):
    file, _, _ = network
    packed, zipped, cut = (tmp_path / f'student.packed.onnx{end}' for end in ('', '.gz', '.cut.gz'))
    pack_weights(file, packed)
    zipped.write_bytes(gzip.compress(packed.read_bytes()))
    cut.write_bytes(zipped.read_bytes()[:-100])
    image = np.random.default_rng(1).integers(0, 256, (1, 6, 7, 3)).astype(np.uint8)
    plain, same = (BACKENDS[path.suffix](path) for path in (packed, zipped))
    assert same.description() == plain.description()
    assert np.array_equal(*(one.session.run(None, {'images': image})[0] for one in (plain, same)))
    with pytest.raises(CheckpointError, match='cut'):
        OnnxBackend(cut)
