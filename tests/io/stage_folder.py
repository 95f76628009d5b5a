"""A finished stage's folder around a toy student that sees something, without a training."""

from __future__ import annotations

from pathlib import Path

from mmpd.chain.chain import Chain
from mmpd.chain.deploy import bench_config, deploy_config
from tests.toys import CLASSES, build_model

import torch
from torch import nn


def write_stage(chain: Chain, folder: Path, name: str = 'student') -> Path:
    """deploy.py, bench.py and `<name>_best.pth` of a stage in `folder`/`name`."""
    folder = folder / name
    folder.mkdir(parents=True, exist_ok=True)
    deploy_config(chain.stages[name]).dump(folder / 'deploy.py')
    bench_config(chain.stages[name]).dump(folder / 'bench.py')
    net = build_model(chain.stages[name].network)
    net.init_weights()
    make_confident(net)
    meta = dict(dataset_meta=dict(classes=CLASSES))
    torch.save(dict(state_dict=net.state_dict(), meta=meta), folder / f'{name}_best.pth')
    return folder


def make_confident(net: nn.Module, seed: int = 0) -> None:
    """Scores and boxes that differ from prior to prior: equal ones would leave the NMS's choice to rounding."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 1.5)
        for key, parameter in net.named_parameters():
            last = any(part in key for part in ('retina_cls', 'conv_cls', 'atss_cls', 'gfl_cls', 'rtm_cls', 'rpn_cls'))
            if (last or 'fc_cls' in key) and key.endswith('bias'):
                parameter.uniform_(-2, 0)
            if last and key.endswith('weight'):
                parameter.normal_(0, 0.3)
            if 'fc_cls' in key and key.endswith('weight'):
                parameter.normal_(0, 1.0)
