"""Rows and seeds as jobs: which there are, and that none starts before what it needs."""

import argparse

from mmpd.ablate import jobs
from mmpd.ablate.rows import ablation_chain, in_order
from mmpd.chain.chain import read_chain
from mmpd.errors import ConfigError
from tests.toys import toy_chain, toy_retinanet

import pytest


def arguments(root, **changes) -> argparse.Namespace:
    given = dict(work_dir=root / 'work', out_dir=root / 'out', splits=['val'], seeds=2, jobs=1, argv=[])
    given |= dict(share_guides=False, quick=False, quick_epochs=3, rows=None, verbose=False)
    return argparse.Namespace(**{**given, **changes})


@pytest.fixture
def ran(monkeypatch) -> list[jobs.Job]:
    """The jobs that were run one after the other."""
    jobs_run: list[jobs.Job] = []
    monkeypatch.setattr(jobs, 'run', lambda args, chain, job: jobs_run.append(job))
    monkeypatch.setattr(jobs, 'report_progress', lambda *_: None)
    return jobs_run


@pytest.mark.parametrize(('seed', 'share'), [(0, False), (5, False), (5, True)])
def test_seeds_count_up_from_that_of_the_chain(tmp_path, ran, seed, share):
    chain = read_chain(toy_chain(tmp_path, **{'randomness.seed': seed}))
    args = arguments(tmp_path, share_guides=share)
    jobs.run_all(args, chain, ['lr_init'])
    rows = ['teacher', 'assistant', 'lr_init']
    assert ran == [(row, seed) for row in rows] + [(row, seed + 1) for row in (rows[-1:] if share else rows)]
    assert jobs.seeded(args, chain, seed + 1).config.randomness.seed == seed + 1


def test_a_seed_of_one_stage_would_be_that_of_every_row(tmp_path):
    chain = read_chain(toy_chain(tmp_path, **{'stages.student': dict(runner=dict(randomness=dict(seed=7)))}))
    with pytest.raises(ConfigError, match='stages.student.runner.randomness.seed'):
        jobs.checked_rows(arguments(tmp_path), chain)


def test_with_shared_guides_a_row_waits_for_a_stage_of_its_own_seed(tmp_path, monkeypatch):
    """A stage of the chain's own, from which the student starts, is trained for every seed."""
    config = toy_chain(tmp_path)
    config.stages.warm = dict(detector=toy_retinanet(), size='lr')
    config.stages.student.init_from = 'warm'
    chain = read_chain(config)
    done: list[jobs.Job] = []

    class Process:
        returncode = 0

        def __init__(self, job: jobs.Job) -> None:
            self.job, self.polls = job, 30 if job == ('warm', 1) else 1

        def poll(self) -> int | None:
            self.polls -= 1
            if self.polls:
                return None
            done.append(self.job)
            return 0

    def start(args, job: jobs.Job) -> Process:
        assert job != ('student', 1) or ('warm', 1) in done
        return Process(job)

    monkeypatch.setattr(jobs, 'start', start)
    monkeypatch.setattr(jobs, 'report_progress', lambda *_: None)
    monkeypatch.setattr(jobs.time, 'sleep', lambda _: None)
    rows = in_order(ablation_chain(chain), ['student'])
    todo = [(row, seed) for seed in range(2) for row in rows if seed == 0 or row not in ('teacher', 'assistant')]
    jobs.run_parallel(arguments(tmp_path, share_guides=True, jobs=4), chain, todo, 0)
    assert set(done) == set(todo)
