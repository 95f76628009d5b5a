"""Two processes on one chain, over gloo: `--launcher pytorch` as torchrun starts it."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

from mmpd.align.positives import annotated_images, count_positives
from mmpd.chain.chain import read_chain
from mmpd.chain.stage_config import stage_config
from mmpd.io.read import load_checkpoint
from tests.faults.client import ROOT, ChainServer, UncutChain, differences
from tests.faults.conftest import write_chain
from tests.toys import build_model

import pytest
import torch
from mmdet.registry import DATASETS
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.registry import DefaultScope

EPOCHS = 2
TERMS = {'loss_feature', 'loss_response_cls', 'loss_response_bbox', 'loss_isrd'}


def records(folder: Path, rank: int) -> list[dict]:
    return [json.loads(line) for line in (folder / f'rank{rank}.jsonl').read_text().splitlines()]


@pytest.fixture(scope='module')
def pair(server: ChainServer, tmp_path_factory) -> tuple[UncutChain, Path, list]:
    """The chain trained by two processes; the folder of what each observed; the two runs."""
    folder = tmp_path_factory.mktemp('pair')
    config, probe = write_chain(folder, EPOCHS), folder / 'probe'
    probe.mkdir()
    runs = server.start_ranks(config, folder / 'work', wires=[dict(probe=str(probe))] * 2)
    for run in runs:
        run.finish()
    return UncutChain(config, folder / 'work', runs[0].moments(), EPOCHS), probe, runs


def test_every_term_is_positive_on_every_rank_and_nothing_is_unused(pair):
    _, probe, _ = pair
    for rank in (0, 1):
        steps = [r for r in records(probe, rank) if r['what'] == 'after_train_iter']
        assert len(steps) == 3 * EPOCHS, 'four images, two processes of batch 2: one iteration an epoch'
        for step in steps:
            terms = TERMS if step['stage'] != 'teacher' else {'loss_cls', 'loss_bbox'}
            assert {name for name in terms if step['losses'].get(name, 0) > 0} == terms, step
        ends = [r for r in records(probe, rank) if r['what'] == 'after_train']
        assert [end['find_unused'] for end in ends] == [False] * 3


def test_ranks_see_different_images_and_end_with_the_same_weights_and_guide(pair):
    _, probe, _ = pair
    first, second = (records(probe, rank) for rank in (0, 1))
    for a, b in zip(first, second, strict=True):
        if a['what'] == 'after_train_iter':
            assert not set(a['images']) & set(b['images'])
        else:
            assert a.get('guide_is_file') == b.get('guide_is_file') == (None if a['stage'] == 'teacher' else True)
            assert a.get('weights') == b.get('weights')


def test_only_rank_0_writes(pair):
    _, _, (zero, one) = pair
    assert {moment.split()[1] for moment in zero.moments()} >= {'half-written', 'renamed', 'iteration', 'validation'}
    assert {moment.split()[1] for moment in one.moments()} == {'between', 'iteration', 'iterated', 'validation'}
    assert 'mmpd stage' in zero.output() and 'mmpd stage' not in one.output()


@pytest.mark.parametrize('stage', ['assistant', 'student'])
def test_losses_of_a_rank_are_those_of_its_images_in_one_process(pair, stage):
    uncut, probe, _ = pair
    config = Config.fromfile(uncut.config)
    guides = {name: str(uncut.work_dir / f'{name}/{name}_best.pth') for name in ('teacher', 'assistant')}
    config = stage_config(read_chain(config).stages[stage], uncut.work_dir, guides)
    with DefaultScope.overwrite_default_scope('mmdet'):
        dataset = DATASETS.build(config.train_dataloader.dataset)
    index = {dataset.get_data_info(i)['img_id']: i for i in range(len(dataset))}
    for rank in (0, 1):
        seen = next(r for r in records(probe, rank) if r['stage'] == stage and r['what'] == 'after_train_iter')
        model = build_model(config.model)
        model.init_weights()
        model.load_state_dict(torch.load(probe / f'{stage}_first_rank{rank}.pth'))
        images = annotated_images(dataset)  # as AFPHook counts before a training
        model.alignment.positives = count_positives(model.alignment.student.head, model.alignment.plan.student, images)
        batch = model.data_preprocessor(pseudo_collate([dataset[index[name]] for name in seen['images']]), True)
        _, losses = model.train().parse_losses(model(**batch, mode='loss'))
        assert {name: float(value) for name, value in losses.items()} == pytest.approx(seen['losses'], rel=1e-5)


def test_both_ranks_start_from_the_same_weights(pair):
    _, probe, _ = pair
    for stage in ('teacher', 'assistant', 'student'):
        zero, one = (torch.load(probe / f'{stage}_first_rank{rank}.pth') for rank in (0, 1))
        assert all(torch.equal(zero[key], one[key]) for key in zero)


def test_resume_from_two_processes_to_one_and_back(server, pair, tmp_path):
    """Student: epoch 1 by two processes, epoch 2 by one, epoch 3 by two. Epochs count, iterations follow."""
    uncut, _, _ = pair
    work_dir = tmp_path / 'run'
    shutil.copytree(uncut.work_dir, work_dir, ignore=shutil.ignore_patterns('student'))
    longer = ('--cfg-options', 'stages.student.schedule.max_epochs=3')
    both = server.start_ranks(uncut.config, work_dir, *longer, wires=[dict(at='student validation 1'), {}])
    assert both[0].wait() == -signal.SIGKILL, both[0].output()
    assert both[1].wait() != 0, 'the other process must notice'
    alone = server.start(uncut.config, work_dir, *longer, at='student validation 2')
    assert alone.wait() == -signal.SIGKILL, alone.output()
    assert 'An epoch had 1 iterations and has 2 now' in alone.message()
    assert load_checkpoint(work_dir / 'student/epoch_2.pth')['meta']['iter'] == 4
    runs = server.start_ranks(uncut.config, work_dir, *longer)
    for run in runs:
        run.finish()
    assert 'An epoch had 2 iterations and has 1 now' in runs[0].output()
    # the validation of epoch 2, cut above, is caught up; where it is the best so far its checkpoint is written again
    assert [file.name for file in sorted(work_dir.glob('student/epoch_*'))] == ['epoch_2.pth', 'epoch_3.pth']
    assert load_checkpoint(work_dir / 'student/epoch_3.pth')['meta']['iter'] == 3
    assert json.loads((work_dir / 'student/done.json').read_text())['epochs'] == 3


def test_a_second_launch_on_the_work_dir_is_refused_by_rank_0(server, pair, tmp_path):
    uncut, _, _ = pair
    first = server.start(uncut.config, tmp_path / 'run', at='teacher iteration', action='stop')
    first.wait_for('teacher iteration')
    zero, one = server.start_ranks(uncut.config, tmp_path / 'run')
    assert zero.wait() == 1 and f'in use by process {first.pid}' in zero.message()
    for run in (one, first):  # torchrun ends the others where one fails
        os.kill(run.pid, signal.SIGKILL)
        run.wait()


@pytest.mark.soak
@pytest.mark.parametrize('moment', ['assistant iteration', 'student half-written epoch_2.pth', 'teacher validation 1'])
def test_two_processes_killed_and_resumed_are_two_uninterrupted_ones(server, pair, tmp_path, moment):
    uncut, _, _ = pair
    runs = server.start_ranks(uncut.config, tmp_path / 'run', wires=[dict(at=moment), {}])
    assert runs[0].wait() == -signal.SIGKILL
    assert runs[1].wait() != 0
    for run in server.start_ranks(uncut.config, tmp_path / 'run'):
        run.finish()
    assert differences(tmp_path / 'run', uncut.work_dir) == []


@pytest.mark.soak
def test_torchrun_trains_what_the_forked_processes_trained(pair, tmp_path):
    uncut, _, _ = pair
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    command = [sys.executable, '-m', 'torch.distributed.run', '--nproc_per_node', '2', '--master_port', str(port),
               str(ROOT / 'tools/train.py'), str(uncut.config), '--work-dir', str(tmp_path / 'run'), '--launcher',
               'pytorch']  # fmt: skip
    environment = {**os.environ, 'OMP_NUM_THREADS': '1'}
    subprocess.run(command, env=environment, check=True, timeout=400, cwd=ROOT, stdout=subprocess.DEVNULL)
    assert differences(tmp_path / 'run', uncut.work_dir) == []
    test = [str(ROOT / 'tools/test.py'), str(uncut.config), str(tmp_path / 'run/student/student_best.pth'), '--out']
    two = [*command[:7], *test, str(tmp_path / 'two.json'), '--launcher', 'pytorch']
    for measured in (two, [sys.executable, *test, str(tmp_path / 'one.json')]):
        subprocess.run(measured, env=environment, check=True, timeout=400, cwd=ROOT, stdout=subprocess.DEVNULL)
    assert (tmp_path / 'two.json').read_text() == (tmp_path / 'one.json').read_text()
