"""Every super-resolution chain: its stages build (narrow, at their real patch sizes) and take a step."""

from pathlib import Path

from mmpd.chain.chain import read_chain
from mmpd.chain.datasets import innermost
from mmpd.chain.stage_config import stage_config
from tests.sr.toys import build, pair_batch, step

import pytest
import torch
from mmengine.config import Config

ROOT = Path(__file__).resolve().parents[2] / 'configs' / 'sr'
CONFIGS = sorted(ROOT.glob('*.py'))
NARROW = {
    'EDSR': dict(channels=4, blocks=2),
    'RCAN': dict(groups=3, blocks=1, channels=16),
    'SwinIR': dict(channels=6, depths=(1, 1)),
}


def test_there_is_a_chain_for_every_network_and_scale():
    names = {f'dukd_{network}_x{scale}' for network in ('edsr', 'rcan', 'swinir') for scale in (2, 3, 4)}
    assert {path.stem for path in CONFIGS} == names | {'dukd_edsr_small_x2', 'dukd_edsr_small_x4'}


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_every_stage_builds_and_takes_a_step(path: Path, tmp_path: Path):
    pytest.importorskip('spandrel')
    config = Config.fromfile(path)
    scale = int(path.stem[-1])
    assert config.ratio == scale
    for stage in config.stages.values():
        stage.overrides = dict(backbone=NARROW[stage.detector.backbone.type])
    chain = read_chain(config)
    for stage in chain.stages.values():
        made = stage_config(stage, tmp_path, {'teacher': str(tmp_path / 'teacher.pth')})
        assert innermost(made.train_dataloader.dataset).pipeline[-2].patch == tuple(config.data.hr_scale)
        if not stage.guide:
            torch.save(build(made.model).state_dict(), tmp_path / 'teacher.pth')
            continue
        distiller = build(made.model)
        distiller.init_weights()
        losses = step(distiller, pair_batch(scale, config.data.hr_scale[0] // scale, n=1))
        assert all(torch.isfinite(loss) and loss > 0 for loss in losses.values())
        assert set(losses) >= {'loss_rec', 'loss_logits'}
    part = 'loss_consistency' if 'small' in path.stem else 'loss_zoom_out'
    assert {'loss_zoom_in', part} <= set(losses)  # the last stage is the student


@pytest.mark.parametrize('network', ['edsr', 'rcan', 'swinir'])
def test_the_papers_training(network: str):
    chain = read_chain(Config.fromfile(ROOT / f'dukd_{network}_x4.py'))
    config = stage_config(chain.stages['student'], 'unused', {'teacher': 'x'})
    assert config.optim_wrapper.optimizer == dict(type='Adam', lr=1e-4)
    steps = 790 * 21 // config.train_dataloader.batch_size
    assert steps * config.train_cfg.max_epochs == pytest.approx(250_000, rel=0.002)
    decay = config.param_scheduler[-1]
    assert decay.gamma == 0.5 and [m * steps for m in decay.milestones] == pytest.approx(
        [50_000, 100_000, 150_000, 200_000], rel=0.01
    )
    assert config.model.terms.logits.loss_weight == 0.2  # pix : KD = 5 : 1
    assert any(hook['type'] == 'EMAHook' and hook['momentum'] == 0.001 for hook in config.custom_hooks)
    assert tuple(chain.config.data.hr_scale) == (192, 192)
