"""One thread, since the tests' networks are so small that more only wait for each other; no work beside the point."""

import gc
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import mmpd  # noqa: F401  (before mmdet: puts the stand-in for mmcv's compiled operators in place)
from mmpd.chain.chain import Chain, read_chain
from mmpd.run.stages import run_stages
from tests.toys import toy_chain

import cv2
import pytest
import torch

torch.set_num_threads(1)
cv2.setNumThreads(1)


@pytest.fixture(scope='session', autouse=True)
def _lean_mmengine() -> Iterator[None]:
    """A Runner asks every compiler for its version (0.3 s), lays out each dumped config with yapf (0.5 s a file) and
    tells of every tensor how it was initialised: most of a toy chain's time, and no test is about it."""
    from mmengine.model import BaseModule
    from mmengine.runner import Runner
    from yapf.yapflib import yapf_api

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Runner, '_log_env', lambda *_: None)
        patch.setattr(BaseModule, '_dump_init_info', lambda *_: None)
        patch.setattr(yapf_api, 'FormatCode', lambda text, **_: (text, True))
        yield


@pytest.fixture(autouse=True)
def _mmdet_scope() -> Iterator[None]:
    """A classification chain leaves mmpretrain's registry scope behind, in which the next test would look things up."""
    from mmengine.registry import DefaultScope

    with DefaultScope.overwrite_default_scope('mmdet'):
        yield


@pytest.fixture(autouse=True)
def _roomy_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """However full the disk of this machine is, a guide's outputs are written."""
    usage = SimpleNamespace(total=2**40, used=0, free=2**40)
    monkeypatch.setattr(shutil, 'disk_usage', lambda folder: usage)


def pytest_collection_finish() -> None:
    """mmengine collects garbage for each data set it builds: 0.3 s with all that the tests import in the heap."""
    gc.collect()
    gc.freeze()


class FinishedChain(NamedTuple):
    """A toy chain that was trained for one epoch a stage. Read it; do not write to its folder."""

    chain: Chain
    root: Path
    work_dir: Path
    checkpoints: dict[str, str]


@pytest.fixture(scope='session')
def finished_chain(tmp_path_factory: pytest.TempPathFactory) -> FinishedChain:
    root = tmp_path_factory.mktemp('finished_chain')
    chain = read_chain(toy_chain(root))
    return FinishedChain(chain, root, root / 'work', run_stages(chain, root / 'work', announce=False))
