"""Weights given to a chain: whatever is no fitting checkpoint is refused by name; every honest kind of file works."""

import os
import pickle
from pathlib import Path

from mmpd.chain.chain import read_chain
from mmpd.chain.stage_config import stage_config
from mmpd.distill.guide import Frozen
from mmpd.errors import CheckpointError
from mmpd.io.read import load_checkpoint
from mmpd.io.state import load_into
from mmpd.run.stages import run_stages
from mmpd.run.train import train
from tests.toys import build_distiller, build_model, save_weights, toy_chain, toy_retinanet

import pytest
import torch
from mmengine.registry import DefaultScope

TEACHER = toy_retinanet(base_channels=8)  # the toy chain's


@pytest.fixture(scope='module')
def root(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp('chain')


@pytest.fixture(scope='module')
def weights(root) -> dict[str, torch.Tensor]:
    """State dict of a teacher that fits the chain."""
    return save_weights(TEACHER, root / 'teacher.pth').state_dict()


class RunsCode:
    def __reduce__(self):
        return os.system, ('touch "$MMPD_TEST_BOMB"',)


def of(model: dict) -> dict:
    net = build_model(model)
    net.init_weights()
    return dict(state_dict=net.state_dict(), meta=dict(dataset_meta=dict(classes=('a', 'b', 'c', 'd', 'e'))))


def load_as_guide(root: Path, file: str | Path) -> Frozen:
    """`file` as the teacher of stage `assistant`, as the Distiller loads it."""
    config = stage_config(read_chain(toy_chain(root)).stages['assistant'], root / 'work', {'teacher': str(file)})
    with DefaultScope.overwrite_default_scope('mmdet'):
        frozen = Frozen(config.model.guide, config.model.guide_checkpoint)
    frozen.load()
    return frozen


REFUSED = {
    'wrong architecture': (lambda _: of(toy_retinanet(base_channels=4)), ['other shape', 'another architecture']),
    'other depth of the neck': (lambda _: of(toy_retinanet(base_channels=8, num_outs=5)), ['another architecture']),
    'other class count': (
        lambda _: of(toy_retinanet(num_classes=5, base_channels=8)),
        ['another number of classes', 'the file: 5 classes', 'a, b, c', 'set num_classes'],
    ),
    'half of the network': (
        lambda state: {key: value for key, value in state.items() if key.startswith('backbone')},
        ['missing in the file', 'neck.'],
    ),
    'an optimizer': (lambda _: dict(optimizer=dict(state={}, param_groups=[])), ["its keys are ['optimizer']"]),
    'a list': (lambda _: [torch.zeros(2)], ['no checkpoint', 'a list']),
    'a tensor': (lambda _: torch.zeros(2), ['no checkpoint', 'a Tensor']),
    'an empty dict': (lambda _: {}, ['no weights']),
}
BROKEN = {
    'zero bytes': (lambda whole: b'', ['is empty (0 bytes)']),
    'cut in half': (lambda whole: whole[: len(whole) // 2], ['bytes']),
    'text': (lambda whole: b'hello, I am a checkpoint\n' * 40, ['bytes']),
    'a web page': (lambda whole: b'<!DOCTYPE html><html><body>Not Found</body></html>', ['bytes']),
    'an XML annotation': (lambda whole: b'<annotation></annotation>', ['bytes']),
}


@pytest.mark.parametrize('case', REFUSED)
def test_a_guide_that_does_not_fit_is_refused(root, weights, tmp_path, case):
    content, expected = REFUSED[case]
    file = tmp_path / 'guide.pth'
    torch.save(content(weights), file)
    with pytest.raises(CheckpointError) as refusal:
        load_as_guide(root, file)
    assert [part for part in [str(file), *expected] if part not in str(refusal.value)] == [], str(refusal.value)


@pytest.mark.parametrize('case', BROKEN)
def test_a_file_that_is_no_checkpoint_is_named(root, weights, tmp_path, case):
    change, expected = BROKEN[case]
    file = tmp_path / 'guide.pth'
    file.write_bytes(change((root / 'teacher.pth').read_bytes()))
    with pytest.raises(CheckpointError) as refusal:
        load_as_guide(root, file)
    assert [part for part in [str(file), *expected] if part not in str(refusal.value)] == [], str(refusal.value)


def test_a_guide_that_would_run_code_is_refused_and_does_not_run(root, tmp_path, monkeypatch):
    monkeypatch.setenv('MMPD_TEST_BOMB', str(tmp_path / 'ran'))
    file = tmp_path / 'guide.pth'
    file.write_bytes(pickle.dumps(dict(state_dict=RunsCode()), protocol=2))
    with pytest.raises(CheckpointError, match='guide.pth'):
        load_as_guide(root, file)
    assert not (tmp_path / 'ran').exists()


def test_a_folder_and_a_missing_file_are_named(root, tmp_path):
    with pytest.raises(CheckpointError, match='absent.pth'):
        load_as_guide(root, tmp_path / 'absent.pth')
    with pytest.raises(CheckpointError, match=str(tmp_path)):
        load_as_guide(root, tmp_path)


GOOD = {
    'plain': lambda state: state,
    'with state_dict': lambda state: dict(state_dict=state, meta={}),
    'fp16': lambda state: dict(state_dict={k: v.half() if v.is_floating_point() else v for k, v in state.items()}),
    'bf16': lambda state: {k: v.bfloat16() if v.is_floating_point() else v for k, v in state.items()},
    'EMA only': lambda state: dict(
        ema_state_dict={'steps': torch.tensor(3), **{f'module.{k}': v for k, v in state.items()}}
    ),
    'DDP': lambda state: dict(state_dict={f'module.{k}': v for k, v in state.items()}),
    'Runner checkpoint of a Distiller': lambda state: dict(
        state_dict={**{f'student.{k}': v for k, v in state.items()}, 'terms.isrd.decoder.conv.weight': torch.zeros(1)}
    ),
}


@pytest.mark.parametrize('case', GOOD)
def test_every_honest_kind_of_file_becomes_the_guide_in_fp32(root, weights, tmp_path, case):
    file = tmp_path / 'guide.pth'
    torch.save(GOOD[case](weights), file)
    guide = load_as_guide(root, file).module.state_dict()
    precision = {'fp16': 1e-3, 'bf16': 1e-2}.get(case, 0)
    for key, value in weights.items():
        assert guide[key].dtype == value.dtype
        torch.testing.assert_close(guide[key], value, rtol=precision, atol=precision)


def test_a_given_checkpoint_that_is_missing_stops_the_chain_before_it_trains(root, tmp_path):
    chain = read_chain(toy_chain(root, **{'stages.teacher.checkpoint': 'nowhere.pth'}))
    with pytest.raises(CheckpointError, match="stages.teacher.checkpoint = 'nowhere.pth': no such file"):
        run_stages(chain, tmp_path, announce=False)
    assert not list(tmp_path.rglob('*.pth'))


def test_a_given_checkpoint_of_another_network_stops_the_stage_before_it_trains(root, tmp_path):
    file = tmp_path / 'other.pth'
    torch.save(of(toy_retinanet(base_channels=4)), file)
    chain = read_chain(toy_chain(root, **{'stages.teacher.checkpoint': str(file)}))
    with pytest.raises(CheckpointError, match='other.pth does not fit the network'):
        run_stages(chain, tmp_path / 'work', announce=False)
    assert not list((tmp_path / 'work').rglob('*.pth'))


def test_init_from_a_file_that_fits_less_than_half(tmp_path):
    student = build_distiller(tmp_path).student
    file = tmp_path / 'start.pth'
    torch.save(of(toy_retinanet(base_channels=6, out_channels=12)), file)
    before = {key: value.clone() for key, value in student.state_dict().items()}
    with pytest.raises(CheckpointError, match='start.pth fits less than half'):
        load_into(student, file, partial=True)
    assert all(torch.equal(before[key], value) for key, value in student.state_dict().items())


def test_resuming_from_another_networks_file_is_refused(root, weights, tmp_path):
    """mmengine takes what fits, warns, and goes on from random weights."""
    chain = read_chain(toy_chain(root))
    config = stage_config(chain.stages['teacher'], tmp_path, {})
    config.default_hooks.logger = None
    train(config)
    file = tmp_path / 'teacher/epoch_1.pth'
    other = load_checkpoint(file)
    other['state_dict'] = {key.replace('bbox_head', 'head'): value for key, value in other['state_dict'].items()}
    torch.save(other, file)
    config.train_cfg.max_epochs = 2
    with pytest.raises(CheckpointError, match='epoch_1.pth cannot be resumed, it is of another network: .* missing'):
        train(config, resume_from=str(file))
    assert not (tmp_path / 'teacher/epoch_2.pth').exists()
