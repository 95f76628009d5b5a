"""`--tensorboard`: the curves and pictures of a stage, read back from its event file."""

from mmpd.chain.chain import read_chain
from mmpd.errors import ConfigError
from mmpd.run import live
from mmpd.run.stages import run_stages
from mmpd.run.state import read_json
from tests.toys import TERMS, toy_chain

import pytest


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
