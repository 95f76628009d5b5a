"""int8 of an exported graph, on a toy graph with known ranges, and where its calibration images come from."""

import shutil
from types import SimpleNamespace

from mmpd.chain.chain import read_chain
from mmpd.errors import ConfigError
from mmpd.io.deploy_folder import describe_stage, find_source
from mmpd.io.quantise import _inputs, training_images, write_int8
from tests.io.stage_folder import write_stage
from tests.toys import toy_chain

import numpy as np
import pytest
from mmengine.config import Config

onnx = pytest.importorskip('onnx')
onnxruntime = pytest.importorskip('onnxruntime')


@pytest.mark.parametrize('activation', ['Clip', 'Relu'])
def test_the_steps_span_what_the_activation_leaves(activation, tmp_path) -> None:
    """One channel reaches −300 before the activation, the other 3. With 255 steps from −300 on it would have three."""
    values = dict(low=np.float32(0), high=np.float32(6), w=np.float32([-300, 3]).reshape(2, 1, 1, 1))
    values['pick'] = np.float32([0, 1]).reshape(1, 2, 1, 1)
    node, info = onnx.helper.make_node, onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [
            node('Conv', ['x', 'w'], ['y']),
            node(activation, ['y', 'low', 'high'][: 3 if activation == 'Clip' else 1], ['z']),
            node('Conv', ['z', 'pick'], ['out']),
        ],
        'toy',
        [info('x', onnx.TensorProto.FLOAT, (1, 1, 1, 64))],
        [info('out', onnx.TensorProto.FLOAT, (1, 1, 1, 64))],
        [onnx.numpy_helper.from_array(value, name) for name, value in values.items()],
    )
    file, target = tmp_path / 'toy.onnx', tmp_path / 'toy.int8.onnx'
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid('', 17)], ir_version=8), file)
    x = np.linspace(0, 1, 64, dtype=np.float32).reshape(1, 1, 1, 64)
    write_int8(file, target, [dict(x=x)])
    (found,) = onnxruntime.InferenceSession(str(target)).run(None, dict(x=x))
    np.testing.assert_allclose(found, 3 * x, atol=3 * 3 / 255)


def test_a_file_of_one_size_is_calibrated_with_the_images_own_sizes() -> None:
    """What its padding holds is no image: boxes were clipped to it, and not to the image."""
    image = np.full((3, 4, 3), 7, np.uint8)
    detector = SimpleNamespace(
        prepare=lambda _: SimpleNamespace(image=image), description=SimpleNamespace(fixed=(6, 5))
    )
    (feed,) = _inputs(detector, ['a.png'])
    assert feed['sizes'].tolist() == [[3, 4]] and feed['images'].shape == (1, 5, 6, 3)
    assert feed['images'].sum() == image.sum()


def test_calibration_images_are_those_of_the_training_set_wherever_the_folder_went(tmp_path) -> None:
    config = toy_chain(tmp_path)
    stage = write_stage(read_chain(config), tmp_path)
    with pytest.raises(ConfigError, match='calibrated on training images'):
        training_images(find_source(stage))
    Config(dict(train_dataloader=dict(dataset=config.data.train))).dump(stage / 'student.py')
    describe_stage(stage)
    moved = tmp_path / 'handed_over'
    shutil.copytree(stage, moved)
    found = training_images(find_source(moved))
    assert found == training_images(find_source(stage)) and all('train' in path for path in found)
