"""One warm server and two uninterrupted chains for all fault tests."""

from pathlib import Path

from tests.faults.client import ChainRun, ChainServer, UncutChain
from tests.toys import toy_chain

import pytest


@pytest.fixture(scope='session')
def server(tmp_path_factory):
    server = ChainServer(tmp_path_factory.mktemp('server'))
    yield server
    server.close()


def write_chain(folder: Path, epochs: int) -> Path:
    """Toy chain of three stages: two iterations an epoch, a checkpoint and a validation after each."""
    # guides that have seen six images are sure of nothing: with a threshold the box term would be zero
    unsure = {f'stages.{stage}.terms.response.threshold': 0.0 for stage in ('assistant', 'student')}
    path = folder / 'toy.py'
    toy_chain(folder, epochs=epochs, **unsure).dump(str(path))
    return path


def run_uncut(server: ChainServer, folder: Path, epochs: int) -> UncutChain:
    config = write_chain(folder, epochs)
    run: ChainRun = server.start(config, folder / 'work').finish()
    return UncutChain(config, folder / 'work', run.moments(), epochs)


@pytest.fixture(scope='session')
def short_chain(server, tmp_path_factory) -> UncutChain:
    """Two epochs a stage."""
    return run_uncut(server, tmp_path_factory.mktemp('short'), 2)


@pytest.fixture(scope='session')
def long_chain(server, tmp_path_factory) -> UncutChain:
    """Three epochs a stage, so that the oldest checkpoint is deleted on the way."""
    return run_uncut(server, tmp_path_factory.mktemp('long'), 3)
