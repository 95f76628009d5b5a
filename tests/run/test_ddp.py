"""Two processes over gloo (invariant 6): each rank's losses are those of its sub-batch in one process."""

from pathlib import Path

from mmpd.run.launch import model_wrapper
from tests.terms.test_rkd import RKD, summed
from tests.toys import TERMS, build_distiller, toy_pair_batch

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from mmengine.model import MMDistributedDataParallel

TERMS_HERE = {**TERMS, 'fsr': dict(type='FSRTerm'), **RKD}
STEPS = 2


def batch_of(rank: int) -> dict:
    """Different images, sizes and box counts on each rank; rank 1 has no object in its first image."""
    batch = toy_pair_batch(2, ((24, 32), (20, 30)) if rank == 0 else ((32, 20), (28, 40)), seed=rank)
    if rank == 1:
        first = batch['data_samples'][0]
        first.gt_instances = first.gt_instances[:0]
    return batch


def losses_of(model, distiller, rank: int) -> dict[str, torch.Tensor]:
    losses = model(**distiller.data_preprocessor(batch_of(rank), True), mode='loss')
    return {name: sum(value) if isinstance(value, list) else value for name, value in losses.items()}


def work(rank: int, folder: str) -> None:
    """One rank: STEPS steps under DDP; losses of each, gradients of the first, and the guide, to a file."""
    torch.set_num_threads(1)
    dist.init_process_group('gloo', init_method=f'file://{folder}/meet', rank=rank, world_size=2)
    distiller = build_distiller(folder, terms=TERMS_HERE).train()
    settings = model_wrapper()
    assert settings is not None and settings.pop('type') == 'MMDistributedDataParallel'
    ddp = MMDistributedDataParallel(distiller, **settings)
    assert not ddp.find_unused_parameters
    seen = []
    for _ in range(STEPS):  # DDP complains of a parameter without gradient in the step after
        distiller.zero_grad()
        losses = losses_of(ddp, distiller, rank)
        summed(losses).backward()
        seen.append({name: value.detach() for name, value in losses.items()})
    gradients = {name: p.grad for name, p in distiller.named_parameters()}
    torch.save(dict(losses=seen, gradients=gradients, guide=distiller.guide.state_dict()), f'{folder}/rank{rank}.pth')
    dist.barrier()
    dist.destroy_process_group()


@pytest.fixture(scope='module')
def ranks(tmp_path_factory):
    folder = tmp_path_factory.mktemp('ddp')
    build_distiller(folder)  # writes the guide's file
    # Forked, which spares each process ten seconds of imports; nothing here has started a thread.
    mp.start_processes(work, args=(str(folder),), nprocs=2, start_method='fork')
    return folder, [torch.load(folder / f'rank{rank}.pth', weights_only=True) for rank in range(2)]


def alone(folder: Path, rank: int) -> tuple[list[dict], dict]:
    distiller = build_distiller(folder, terms=TERMS_HERE).train()
    seen = []
    for _ in range(STEPS):
        distiller.zero_grad()
        losses = losses_of(distiller, distiller, rank)
        summed(losses).backward()
        seen.append({name: value.detach() for name, value in losses.items()})
    return seen, {name: p.grad for name, p in distiller.named_parameters()}


def test_each_ranks_losses_are_those_of_its_sub_batch_alone(ranks):
    folder, saved = ranks
    expected = [alone(folder, rank) for rank in range(2)]
    for rank in range(2):
        for got, want in zip(saved[rank]['losses'], expected[rank][0], strict=True):
            assert got.keys() == want.keys()
            for name in want:
                torch.testing.assert_close(got[name], want[name], msg=lambda text, n=name: f'{n}: {text}')
                assert got[name] > 0 or name == 'loss_mmd' or (rank == 1 and name.endswith('_bbox')), name
    for name, gradient in saved[0]['gradients'].items():
        torch.testing.assert_close(gradient, saved[1]['gradients'][name], rtol=0, atol=0)
        mean = (expected[0][1][name] + expected[1][1][name]) / 2
        torch.testing.assert_close(gradient, mean, rtol=1e-3, atol=1e-5)


def test_the_guide_is_its_file_on_every_rank(ranks):
    folder, saved = ranks
    content = torch.load(folder / 'guide.pth', weights_only=True)['state_dict']
    for rank in range(2):
        assert all(torch.equal(saved[rank]['guide'][key], content[key]) for key in content)
