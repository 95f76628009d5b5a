"""`--tensorboard`: the curves and pictures of a stage, read back from its event file."""

import warnings

from mmpd.chain.chain import read_chain
from mmpd.errors import ConfigError
from mmpd.run import live
from mmpd.run.stages import run_stages
from mmpd.run.state import read_json
from mmpd.run.tensorboard import within_image
from tests.toys import TERMS, toy_chain

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmdet.visualization import DetLocalVisualizer
from mmengine.structures import InstanceData


def test_a_stage_writes_terms_rates_ap_and_pictures(finished_chain, tmp_path):
    event_accumulator = pytest.importorskip('tensorboard.backend.event_processing.event_accumulator')
    changes = {
        'stages.assistant.guide': 'teacher',
        'stages.teacher.checkpoint': finished_chain.checkpoints['teacher'],
        'optim_wrapper.paramwise_cfg': dict(custom_keys=dict(backbone=dict(lr_mult=0.5))),
    }
    chain = read_chain(toy_chain(tmp_path, **changes))
    run_stages(chain, tmp_path / 'work', only='assistant', announce=False, show=live.Show(tensorboard=True))
    (events,) = (tmp_path / 'work' / 'assistant').rglob('events.out.tfevents.*')
    read = event_accumulator.EventAccumulator(str(events))
    read.Reload()
    scalars, images = read.Tags()['scalars'], read.Tags()['images']
    assert all(any(name.startswith(f'loss_{term}') for name in scalars) for term in TERMS)
    assert {'loss', 'lr', 'pd/AP', 'pd/AP50'} <= set(scalars)
    rates = {name: read.Scalars(name)[0].value for name in scalars if name.startswith('lr/')}
    assert rates['lr/initially_0.01'] == pytest.approx(2 * rates['lr/initially_0.005'])
    assert 'val/0' in images and read.Images('val/0')[0].step == 1
    lines = (events.parent / 'scalars.json').read_text()  # what the report reads is still there
    assert 'loss_feature' in lines and 'pd/AP' in lines


def test_the_option_is_no_other_config(finished_chain, tmp_path):
    """A stage that was finished without it is finished with it."""
    chain, work = finished_chain.chain, finished_chain.work_dir
    before = read_json(work / 'teacher' / 'done.json')
    run_stages(chain, work, only='teacher', announce=False, show=live.Show(tensorboard=True))
    assert read_json(work / 'teacher' / 'done.json') == before


def test_without_tensorboard_it_is_refused_before_anything_is_trained(monkeypatch):
    monkeypatch.setattr(live.importlib.util, 'find_spec', lambda _: None)
    with pytest.raises(ConfigError, match='pip install'):
        live.Show(tensorboard=True)


@pytest.mark.parametrize('where', ['gt_instances', 'pred_instances'])
def test_boxes_at_the_edge_are_drawn_without_a_warning_and_the_metric_keeps_its_own(where):
    """mmdet's own drawing warns of a box that ends at the image's edge, as every clipped one does."""
    boxes = torch.tensor([[-0.5, 10.0, 40.0, 30.0], [38.0, 29.0, 40.3, 30.0], [5.0, 5.0, 20.0, 20.0]])
    sample = DetDataSample(metainfo=dict(ori_shape=(30, 40)))
    found = dict(bboxes=boxes.clone(), labels=torch.zeros(3, dtype=torch.long), scores=torch.ones(3))
    sample.set_field(InstanceData(**found), where, dtype=InstanceData)
    visualizer = DetLocalVisualizer()
    visualizer.dataset_meta = dict(classes=('a',), palette=[(255, 0, 0)])
    with warnings.catch_warnings():
        warnings.filterwarnings('error', message='.*out of bounds')
        visualizer.add_datasample('x', np.zeros((30, 40, 3), np.uint8), within_image(sample, visualizer.line_width))
    assert (sample.get(where).bboxes == boxes).all()
    assert (within_image(sample, 3).get(where).bboxes[2] == boxes[2]).all()
