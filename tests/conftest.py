"""One thread: the tests' networks are so small that more only wait for each other."""

import mmpd  # noqa: F401  (before mmdet: puts the stand-in for mmcv's compiled operators in place)

import cv2
import pytest
import torch

torch.set_num_threads(1)
cv2.setNumThreads(1)


@pytest.fixture(autouse=True)
def _quiet_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """mmengine's Runner asks every compiler for its version at each start: 0.3 s that no test is about."""
    from mmengine.runner import Runner

    monkeypatch.setattr(Runner, '_log_env', lambda *_: None)
