"""Every classification chain: its stages build (narrow, at their real image sizes) and take a step."""

import copy
from pathlib import Path

from mmpd.chain.chain import Chain, is_chain, read_chain
from mmpd.chain.deploy import bench_config, deploy_config
from mmpd.chain.stage_config import stage_config
from tests.cls.toy_classifiers import build, pair_batch, save_weights, step

import pytest
from mmengine.config import Config

ROOT = Path(__file__).resolve().parents[2] / 'configs' / 'classification'
CONFIGS = sorted(ROOT.glob('*.py'))
NARROW = {
    'resnet50': dict(backbone=dict(stem_channels=4, base_channels=2), head=dict(in_channels=64)),
    'resnet18': dict(backbone=dict(stem_channels=4, base_channels=4), head=dict(in_channels=32)),
    'deit': dict(
        backbone=dict(arch=dict(_delete_=True, embed_dims=8, num_layers=1, num_heads=2, feedforward_channels=8)),
        head=dict(in_channels=8),
    ),
}


def narrow_chain(path: Path) -> Chain:
    config = Config.fromfile(path)
    config.merge_from_dict({'pretrained': False, 'data.num_classes': 3})
    for stage in config.stages.values():
        narrow = next(small for name, small in NARROW.items() if name in stage.detector)
        given = stage.get('overrides', {})
        given.get('backbone', {}).pop('arch', None)  # the narrow one replaces it, and the merge would lose its _delete_
        stage.overrides = Config._merge_a_into_b(copy.deepcopy(narrow), given)
    return read_chain(config)


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_every_stage_builds_and_takes_a_step(path: Path, tmp_path: Path):
    chain = narrow_chain(path)
    files = {name: str(tmp_path / f'{name}.pth') for name in chain.stages}
    side = chain.config.data.hr_scale[0]
    for name, stage in chain.stages.items():
        save_weights(deploy_config(stage).model, Path(files[name]))
        config = stage_config(stage, tmp_path, files)
        assert config.train_dataloader.dataset.type == 'mmdet.SeededDataset'
        decay = config.param_scheduler[-1]
        assert decay.type == ('CosineAnnealingLR' if 'voc_crops' in path.stem else 'MultiStepLR')
        assert bench_config(stage).test_evaluator.type == 'mmdet.PDAccuracy'
        if not stage.guide:
            continue
        distiller = build(config.model)
        distiller.init_weights()
        losses = step(distiller, pair_batch(config.model.ratio, side, n=2))
        named = {name: loss for name, loss in losses.items() if name.startswith('loss')}  # others are only logged
        assert set(named) == {'loss', *(f'loss_{term}' for term, config in stage.entry.terms.items() if config)}
        assert all(loss > 0 or name == 'loss_mmd' for name, loss in named.items()), losses  # MMD² is unbiased
        assert all(loss.isfinite() for loss in losses.values()), losses
        distiller.parse_losses(losses)[0].backward()


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_the_reference_settings_are_the_defaults(path: Path):
    config = Config.fromfile(path)
    assert is_chain(config) and config.reduction == 'bilinear'
    for stage in config.stages.values():
        kd = (stage.get('terms') or {}).get('kd')
        assert kd is None or (kd.alpha, kd.temperature) == (0.9, 4.0)
    if 'voc_crops' not in path.stem:
        assert config.schedule.milestones == [30, 60, 90] and config.schedule.max_epochs == 120
        expected = 20 if 'aircraft' in path.stem else {2: 10, 4: 50}[config.ratio]
        assert config.stages.student.terms.isrd.loss_weight == expected


@pytest.mark.parametrize('name', ['pd_voc_crops_r18_vit', 'pd_voc_crops_vit_r18'])
def test_transformers_take_their_own_optimiser_and_the_cnn_the_chains(name: str, tmp_path: Path):
    chain = read_chain(Config.fromfile(ROOT / f'{name}.py'))
    files = dict.fromkeys(chain.stages, 'weights.pth')
    for stage in chain.stages.values():
        optimizer = stage_config(stage, tmp_path, files).optim_wrapper.optimizer
        if 'deit' in stage.entry.detector:
            assert optimizer == dict(type='AdamW', lr=1e-3, weight_decay=0.05)
        else:
            assert (optimizer.type, optimizer.lr) == ('SGD', 0.05)
