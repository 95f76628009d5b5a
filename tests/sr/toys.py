"""Networks, image folders and a chain of the sr task, all so small that training takes seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mmpd.sr.register  # noqa: F401
from mmpd.distill.distiller import Distiller
from mmpd.sr.model import SRDataSample

import cv2
import numpy as np
import torch
from mmdet.registry import MODELS
from mmengine.config import Config, ConfigDict
from mmengine.registry import DefaultScope


def toy_edsr(channels: int = 4, blocks: int = 3, **backbone: Any) -> dict:
    return dict(type='SuperResolver', backbone=dict(type='EDSR', channels=channels, blocks=blocks, **backbone))


def build(config: dict) -> Any:
    with DefaultScope.overwrite_default_scope('mmdet'):
        return MODELS.build(ConfigDict(config))


def write_images(folder: Path, sizes: list[tuple[int, int]], seed: int = 0) -> None:
    """Smooth random colour images `000.png`, … of (width, height)."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for index, size in enumerate(sizes):
        coarse = rng.integers(0, 256, (5, 6, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f'{index:03d}.png'), cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC))


def toy_chain(root: Path, **changes: Any) -> Config:
    """Config of a chain teacher → student at ratio 2, HR patches of 16 × 16; images are written below `root`."""
    if not (root / 'train').is_dir():
        write_images(root / 'train', [(40, 32), (33, 47), (24, 24), (52, 30)])
        write_images(root / 'val', [(36, 30)], seed=1)
        write_images(root / 'A', [(33, 31), (40, 36)], seed=2)
        write_images(root / 'B', [(38, 34)], seed=3)
    terms = dict(logits=dict(type='LogitsTerm'), zoom_in=dict(type='ZoomInTerm'), zoom_out=dict(type='ZoomOutTerm'))
    config = Config(
        dict(
            task='sr',
            ratio=2,
            student_pyramid='cheap',
            reduction='bicubic',
            stages=dict(
                teacher=dict(detector=toy_edsr(6), size='lr'),
                student=dict(detector=toy_edsr(), size='lr', guide='teacher', terms=terms),
            ),
            data=dict(
                train=dict(type='SRFolder', data_root=str(root / 'train'), repeat=2),
                val=dict(type='SRFolder', data_root=str(root / 'val')),
                test=dict(type='SRFolder', data_root=str(root), sets=('A', 'B')),
                hr_scale=(16, 16),
                batch_size=2,
                val_batch_size=2,
                num_workers=0,
            ),
            schedule=dict(max_epochs=2, warmup_iters=0),
            optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=1e-3)),
            default_hooks=dict(logger=dict(type='LoggerHook', interval=1)),
            randomness=dict(seed=0),
            log_level='ERROR',
        )
    )
    config.merge_from_dict(changes)
    return config


def build_distiller(root: Path, student: dict, guide: dict | None = None, scale: int = 2, **terms: dict) -> Distiller:
    """A Distiller whose guide has random weights from a file."""
    configs = [student, guide or student]
    for config in configs:
        config['backbone']['scale'] = scale
    torch.manual_seed(7)
    torch.save(build(configs[1]).state_dict(), root / 'guide.pth')
    distiller = build(
        dict(
            type='Distiller',
            student=configs[0],
            guide=configs[1],
            guide_checkpoint=str(root / 'guide.pth'),
            ratio=1,
            terms=terms,
        )
    )
    distiller.init_weights()
    return distiller


def pair_batch(scale: int = 2, side: int = 12, n: int = 2) -> dict:
    """A raw batch of LR patches (side × side) with their HR images, as the pipelines pack it."""
    generator = torch.Generator().manual_seed(0)
    images = [torch.randint(0, 256, (3, side, side), generator=generator, dtype=torch.uint8) for _ in range(n)]
    samples = []
    for _ in images:
        sample = SRDataSample(metainfo=dict(img_shape=(side, side)))
        sample.gt_img = torch.randint(0, 256, (3, side * scale, side * scale), generator=generator, dtype=torch.uint8)
        samples.append(sample)
    return dict(inputs=dict(lr=images, hr=images), data_samples=samples)


def step(distiller: Distiller, batch: dict) -> dict:
    return distiller(**distiller.data_preprocessor(batch, True), mode='loss')
