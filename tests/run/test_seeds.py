"""A chain from several seeds: which, and what is written of it."""

import json
from types import SimpleNamespace

from mmpd.chain.chain import read_chain
from mmpd.errors import ConfigError
from mmpd.run.seeds import first_seed, run_many, with_seed
from tests.toys import toy_chain

import pytest


def test_seeds_count_up_from_that_of_the_chain(tmp_path):
    chain = read_chain(toy_chain(tmp_path, **{'randomness.seed': 5}))
    assert [with_seed(chain, index).config.randomness.seed for index in range(2)] == [5, 6]
    chain.config.pop('randomness')
    assert first_seed(chain) == 0


@pytest.mark.parametrize('runner', [dict(randomness=dict(seed=7)), {'randomness.seed': 7}])
def test_a_seed_of_one_stage_would_be_that_of_every_run(tmp_path, runner):
    chain = read_chain(toy_chain(tmp_path, **{'stages.student': dict(runner=runner)}))
    with pytest.raises(ConfigError, match='stages.student.runner.randomness.seed'):
        run_many(chain, tmp_path / 'work', 2)


def test_the_summary_of_one_stage_leaves_that_of_the_others(tmp_path, monkeypatch):
    chain = read_chain(toy_chain(tmp_path))
    monkeypatch.setattr('mmpd.run.seeds.run_stages', lambda chain, *_, **__: dict.fromkeys(chain.stages, 'w.pth'))
    monkeypatch.setattr('mmpd.run.seeds.measure', lambda *_: SimpleNamespace(metrics=dict(AP=0.5)))
    run_many(chain, tmp_path, 2)
    assert list(run_many(chain, tmp_path, 1, only='assistant')) == ['assistant']
    written = json.loads((tmp_path / 'runs.json').read_text())
    assert {name: len(one['AP']['values']) for name, one in written.items()} == dict(teacher=2, assistant=1, student=2)
