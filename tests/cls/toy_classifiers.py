"""mmpretrain classifiers, an image folder and pairs, all so small that a step takes milliseconds.

HR images are 32 × 32 pixels. The CNN has stride 2 at its stem and maps of stride 4, 8, 16, 32; the transformer's
patches are 8 pixels.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mmpd.cls.register  # noqa: F401
from mmpd.data.reduction import parse_ratio, reduce_image
from mmpd.distill.distiller import Distiller

import cv2
import numpy as np
import torch
from mmdet.registry import MODELS
from mmengine.registry import DefaultScope
from mmpretrain.structures import DataSample
from torch import nn

CLASSES = ('bright', 'dark', 'mixed')
PREPROCESSOR = dict(type='ClsDataPreprocessor', mean=[120.0] * 3, std=[60.0] * 3, to_rgb=True)


def toy_cnn(base: int = 4, out_indices: tuple[int, ...] = (0, 1, 2, 3)) -> dict:
    """ResNet18 with `base` channels in its first stage."""
    return dict(
        type='ImageClassifier',
        backbone=dict(type='ResNet', depth=18, stem_channels=base, base_channels=base, out_indices=out_indices),
        neck=dict(type='GlobalAveragePooling'),
        head=dict(type='LinearClsHead', num_classes=3, in_channels=8 * base),
        data_preprocessor=dict(PREPROCESSOR),
    )


def toy_vit(img_size: int = 32, embed_dims: int = 8, patch_size: int = 8) -> dict:
    """One-layer vision transformer for images of `img_size` pixels; patches that do not fit are left off."""
    arch = dict(embed_dims=embed_dims, num_layers=1, num_heads=2, feedforward_channels=16)
    return dict(
        type='ImageClassifier',
        backbone=dict(
            type='VisionTransformer', arch=arch, img_size=img_size, patch_size=patch_size, patch_cfg=dict(padding=0)
        ),
        head=dict(type='VisionTransformerClsHead', num_classes=3, in_channels=embed_dims),
        data_preprocessor=dict(PREPROCESSOR),
    )


def build(config: dict) -> Any:
    """Build a model as a Runner would: in mmpretrain's scope."""
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        return MODELS.build(config)


def save_weights(model: dict, path: Path, seed: int = 0) -> nn.Module:
    """Initialise a classifier whose logits differ, save it to `path`, and return it in eval."""
    torch.manual_seed(seed)
    net = build(model)
    net.init_weights()
    for parameter in net.head.parameters():  # a transformer's head starts at zero
        nn.init.normal_(parameter, std=0.5)
    torch.save(dict(state_dict=net.state_dict(), meta={}), path)
    return net.eval()


def build_distiller(folder: Path, guide: dict, student: dict, ratio: Any, **terms: dict) -> Distiller:
    """A Distiller with an initialised student and a guide from a file."""
    save_weights(guide, folder / 'guide.pth')
    torch.manual_seed(1)
    distiller = build(
        dict(
            type='mmdet.Distiller',
            student=student,
            guide=guide,
            guide_checkpoint=str(folder / 'guide.pth'),
            ratio=ratio,
            terms=terms,
        )
    )
    distiller.init_weights()
    return distiller


def pair_batch(ratio: Any = 2, hr_side: int = 32, n: int = 4, num_classes: int = 3) -> dict:
    """What the dataloader gives the Distiller: uint8 pairs and labels."""
    rng = np.random.default_rng(0)
    batch: dict = dict(inputs=dict(lr=[], hr=[]), data_samples=[])
    for index in range(n):
        image = cv2.blur(rng.integers(0, 256, (hr_side, hr_side, 3), np.uint8), (5, 5))
        for key, img in (('hr', image), ('lr', reduce_image(image, parse_ratio(ratio)))):
            batch['inputs'][key].append(torch.from_numpy(np.ascontiguousarray(img.transpose(2, 0, 1))))
        batch['data_samples'].append(DataSample().set_gt_label(index % num_classes))
    return batch


def step(distiller: Distiller, batch: dict) -> dict[str, torch.Tensor]:
    """Named losses of one step."""
    return distiller(**distiller.data_preprocessor(batch, True), mode='loss')


def write_toy_folders(root: Path, n: int = 3, side: int = 40) -> Path:
    """Draw <root>/{train,val,test}/<class>/*.png with n images of side × side pixels each."""
    rng = np.random.default_rng(0)
    levels = dict(bright=(180, 255), dark=(0, 80), mixed=(0, 255))
    for split in ('train', 'val', 'test'):
        for name in CLASSES:
            folder = root / split / name
            folder.mkdir(parents=True)
            for index in range(n):
                cv2.imwrite(str(folder / f'{index}.png'), rng.integers(*levels[name], (side, side, 3), np.uint8))
    return root
