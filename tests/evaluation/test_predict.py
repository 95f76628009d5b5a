from mmpd.chain.chain import read_chain
from mmpd.chain.deploy import deploy_config
from mmpd.data.reduction import reduce_image
from mmpd.errors import DataError
from mmpd.evaluation.measure import network_of
from mmpd.evaluation.predict import Predictor
from tests.toys import CLASSES, save_weights, toy_chain

import cv2
import numpy as np
import pytest
from mmdet.apis import inference_detector, init_detector


@pytest.fixture
def student(tmp_path):
    chain = toy_chain(tmp_path)
    save_weights(read_chain(chain).stages['student'].network, tmp_path / 'student.pth')
    return chain, tmp_path / 'student.pth', tmp_path / 'voc/JPEGImages/test_0.png'


def test_an_hr_image_is_reduced_and_boxes_are_in_its_pixels(student) -> None:
    chain, weights, image = student
    found = Predictor(network_of(chain), weights, 'cpu')(image)
    original = cv2.cvtColor(cv2.imread(str(image)), cv2.COLOR_BGR2RGB)
    np.testing.assert_array_equal(found.seen, reduce_image(original, read_chain(chain).ratio))
    assert len(found.boxes) and found.boxes.max() > 32  # beyond the LR image
    assert (found.boxes <= [64, 48, 64, 48]).all()
    assert (np.diff(found.scores) <= 0).all()


def test_the_deploy_config_gives_stock_mmdets_boxes(student) -> None:
    chain, weights, image = student
    config = deploy_config(read_chain(chain).stages['student'])
    predictor = Predictor(network_of(config), weights, 'cpu')
    assert predictor.classes == CLASSES
    ours = predictor(image)
    stock = inference_detector(init_detector(config, str(weights), device='cpu'), str(image)).pred_instances
    np.testing.assert_allclose(ours.boxes, stock.bboxes.numpy(), rtol=1e-6)
    np.testing.assert_allclose(ours.scores, stock.scores.numpy(), rtol=1e-6)


def test_missing_and_broken_images(student, tmp_path) -> None:
    chain, weights, _ = student
    predictor = Predictor(network_of(chain), weights, 'cpu')
    with pytest.raises(DataError, match='no such file'):
        predictor(tmp_path / 'none.jpg')
    (tmp_path / 'text.jpg').write_text('no image')
    with pytest.raises(DataError, match='cannot be read'):
        predictor(tmp_path / 'text.jpg')
