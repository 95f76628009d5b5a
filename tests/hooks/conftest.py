"""A real mmengine Runner on a network of two numbers: trains, validates and saves in milliseconds."""

import itertools
import logging
from pathlib import Path

import mmpd  # noqa: F401  (installs the operators and the safe loading)

import pytest
import torch
from mmdet.registry import DATASETS, METRICS, MODELS
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch.utils.data import Dataset


@DATASETS.register_module(force=True)
class ToyHookData(Dataset):
    """Item i is noise from the global generators plus its index, so that wrong seeding shows in the weights."""

    metainfo = dict(classes=('disc', 'ring'), palette=[(1, 2, 3), (4, 5, 6)])
    epoch = 0

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> dict:
        return dict(inputs=torch.rand(2) + index + 10 * self.epoch)


@MODELS.register_module(force=True)
class ToyHookModel(BaseModel):
    """`student.fc` is what a detector would be; `terms.fc` stands for a decoder; `poison` makes a loss NaN."""

    poison_at: int | None = None
    calls = 0

    def __init__(self) -> None:
        super().__init__()
        self.student = torch.nn.Sequential(torch.nn.Linear(2, 1), torch.nn.BatchNorm1d(1))
        self.terms = torch.nn.Linear(1, 1)

    def forward(self, inputs: list, mode: str = 'tensor') -> dict | list:
        batch = torch.stack(inputs) if isinstance(inputs, list) else inputs
        if mode != 'loss':
            return [dict(value=float(self.student(batch).sum()))]
        self.calls += 1
        scale = float('nan') if self.calls == self.poison_at else 1.0
        out = self.terms(self.student(batch))
        return dict(loss_cls=(out**2).mean() * 1e-2, loss_isrd=out.abs().mean() * 1e-2 * scale)


@METRICS.register_module(force=True)
class ToyHookMetric(BaseMetric):
    """Reports `toy/AP` from a script, one value for each validation in order of the epoch."""

    default_prefix = 'toy'
    scores: dict[int, float] = {}
    epoch_of_model = None
    seen: list[int] = []

    def process(self, data_batch: dict, data_samples: list) -> None:
        self.results.append(1)

    def compute_metrics(self, results: list) -> dict:
        from mmengine.logging import MessageHub

        epoch = MessageHub.get_current_instance().get_info('epoch')
        done = ToyHookMetric.epoch_of_model() if ToyHookMetric.epoch_of_model else epoch
        ToyHookMetric.seen.append(done)
        return dict(AP=ToyHookMetric.scores.get(done, 0.0))


RUNNERS = itertools.count()
"""mmengine keeps loggers and visualizers by name and second: two tests of one second would share one."""


@pytest.fixture
def toy_metric():
    ToyHookMetric.seen = []
    ToyHookMetric.scores = {}
    yield ToyHookMetric
    ToyHookMetric.epoch_of_model = None


@pytest.fixture
def make_runner(tmp_path: Path, toy_metric, monkeypatch):
    """make_runner(epochs=3, name='run', resume=False, hooks=[…], **checkpoint) → Runner in tmp_path/name."""
    monkeypatch.setattr(Runner, '_log_env', lambda *_: None)  # asks every compiler for its version: 0.3 s

    def build(
        epochs=3, name='run', resume=False, hooks=(), load_from=None, loader=None, schedulers=None, **checkpoint
    ) -> Runner:
        checkpoint = dict(type='AtomicCheckpointHook', stage='student', save_best='toy/AP') | checkpoint
        dataloader = dict(
            batch_size=2,
            num_workers=0,
            sampler=dict(type='DefaultSampler', shuffle=True),
            dataset=dict(type='ToyHookData'),
        )
        runner = Runner(
            model=dict(type='ToyHookModel'),
            work_dir=str(tmp_path / name),
            train_dataloader=dataloader | (loader or {}),
            train_cfg=dict(by_epoch=True, max_epochs=epochs, val_interval=1),
            optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.05, momentum=0.9)),
            param_scheduler=schedulers or dict(type='MultiStepLR', milestones=[2], gamma=0.1),
            val_dataloader=dict(dataloader, sampler=dict(type='DefaultSampler', shuffle=False)),
            val_cfg=dict(),
            val_evaluator=dict(type='ToyHookMetric'),
            default_hooks=dict(checkpoint=checkpoint, logger=dict(type='LoggerHook', interval=1)),
            custom_hooks=[dict(type='SampleSeedHook'), *hooks],
            randomness=dict(seed=7),
            resume=resume,
            load_from=load_from,
            default_scope='mmdet',
            experiment_name=f'toy{next(RUNNERS)}_{name}',
            log_level=logging.WARNING,
        )
        toy_metric.epoch_of_model = lambda: runner.epoch
        return runner

    return build
