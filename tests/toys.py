"""Real mmdet detectors, a VOC set and a chain, all so small that training takes seconds.

Sizes: images are 64 × 48 pixels (HR), objects 12–28 pixels. The HR network's levels have strides 8, 16, 32, 64 and
square anchors of twice the stride; a 'fine' student at ratio 2 has strides 4, 8, 16, 32.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mmpd  # noqa: F401  (installs the operators and registers everything)
from mmpd.data.voc.annotation import VOCObject, write_voc_xml
from mmpd.distill.distiller import Distiller

import cv2
import numpy as np
import torch
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmengine.config import Config, ConfigDict
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData
from torch import nn

CLASSES = ('square', 'disc')
TERMS = dict(
    feature=dict(type='FeatureTerm'),
    response=dict(type='ResponseTerm'),
    isrd=dict(type='ISRDTerm', loss_weight=0.1),
)


def toy_retinanet(
    num_classes: int = 2,
    start_level: int = 1,
    num_outs: int = 4,
    base_channels: int = 4,
    out_channels: int = 8,
    anchor_scale: float = 2.0,
    strides: list[int] | None = None,
    **parts: Any,
) -> dict:
    """Model config of a RetinaNet-R18 with a few thousand parameters.

    Args:
        start_level: first backbone stage of the FPN; stage i has stride 4 · 2^i.
        num_outs: pyramid levels.
        base_channels: channels of the ResNet's first stage.
        out_channels: channels of the FPN and the head.
        anchor_scale: anchor side in strides.
        strides: of the head; default: those of the FPN.
        parts: replace whole parts, e.g. `bbox_head=…`.
    """
    strides = strides or [4 * 2 ** (start_level + level) for level in range(num_outs)]
    model = dict(
        type='RetinaNet',
        data_preprocessor=dict(
            type='DetDataPreprocessor',
            mean=[123.675, 116.28, 103.53],
            std=[58.395, 57.12, 57.375],
            bgr_to_rgb=True,
            pad_size_divisor=32,
        ),
        backbone=dict(
            type='ResNet',
            depth=18,
            base_channels=base_channels,
            num_stages=4,
            out_indices=(0, 1, 2, 3),
            frozen_stages=1,  # as mmdet's files have it: the chain must undo both
            norm_cfg=dict(type='BN', requires_grad=True),
            norm_eval=True,
            style='pytorch',
        ),
        neck=dict(
            type='FPN',
            in_channels=[base_channels * 2**i for i in range(4)],
            out_channels=out_channels,
            start_level=start_level,
            add_extra_convs='on_input',
            num_outs=num_outs,
        ),
        bbox_head=dict(
            type='RetinaHead',
            num_classes=num_classes,
            in_channels=out_channels,
            feat_channels=out_channels,
            stacked_convs=1,
            anchor_generator=dict(
                type='AnchorGenerator',
                octave_base_scale=anchor_scale,
                scales_per_octave=1,
                ratios=[1.0],
                strides=strides,
            ),
            bbox_coder=dict(type='DeltaXYWHBBoxCoder'),
            loss_cls=dict(type='FocalLoss', use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0),
            loss_bbox=dict(type='L1Loss', loss_weight=1.0),
        ),
        train_cfg=dict(
            assigner=dict(type='MaxIoUAssigner', pos_iou_thr=0.5, neg_iou_thr=0.4, min_pos_iou=0, ignore_iof_thr=-1),
            sampler=dict(type='PseudoSampler'),
            allowed_border=-1,
            pos_weight=-1,
            debug=False,
        ),
        test_cfg=dict(
            nms_pre=100, min_bbox_size=0, score_thr=0.01, nms=dict(type='nms', iou_threshold=0.5), max_per_img=20
        ),
    )
    return {**model, **parts}


def build_model(config: dict) -> Any:
    """Build a model as a Runner would: in mmdet's scope."""
    with DefaultScope.overwrite_default_scope('mmdet'):
        return MODELS.build(ConfigDict(config))


def unfrozen(model: dict) -> dict:
    """What the chain makes of a detector config: every stage trains, BN adapts."""
    return {**model, 'backbone': {**model['backbone'], 'frozen_stages': -1, 'norm_eval': False}}


def write_toy_voc(root: str | Path, n: int = 4, size: tuple[int, int] = (64, 48), seed: int = 0) -> Path:
    """Draw a VOC-layout set with n images in train and 2 each in val and test, 1–3 boxes in each image.

    Args:
        size: (width, height) in pixels. Images are PNG, so pixels are what was drawn.
    """
    root = Path(root)
    for folder in ('Annotations', 'JPEGImages', 'ImageSets/Main'):
        (root / folder).mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for split, count in (('train', n), ('val', 2), ('test', 2)):
        ids = [f'{split}_{i}' for i in range(count)]
        for image_id in ids:
            image, objects = draw_toy_image(rng, size)
            cv2.imwrite(str(root / 'JPEGImages' / f'{image_id}.png'), image)
            write_voc_xml(root / 'Annotations' / f'{image_id}.xml', f'{image_id}.png', size, objects)
        (root / 'ImageSets/Main' / f'{split}.txt').write_text('\n'.join(ids) + '\n')
    return root


def draw_toy_image(rng: np.random.Generator, size: tuple[int, int]) -> tuple[np.ndarray, list[VOCObject]]:
    """(height, width, 3) uint8 noise with bright squares and dark discs, and their boxes."""
    width, height = size
    image = rng.integers(90, 160, (height, width, 3), np.uint8)
    objects = []
    for _ in range(int(rng.integers(1, 4))):
        label = int(rng.integers(2))
        side = int(rng.integers(12, 29))
        x, y = int(rng.integers(0, width - side)), int(rng.integers(0, height - side))
        if label == 0:
            image[y : y + side, x : x + side] = 240
        else:
            cv2.circle(image, (x + side // 2, y + side // 2), side // 2, (20, 20, 20), -1)
        objects.append(VOCObject(CLASSES[label], (x + 1, y + 1, x + side, y + side)))
    return image, objects


def toy_chain(root: str | Path, epochs: int = 1, ratio: int | str = 2, **changes: Any) -> Config:
    """Chain config teacher → assistant → student on a drawn set in `root`/voc (written where it is not there yet).

    Args:
        changes: merged into the config, dotted keys too, as `--cfg-options` does.
    """
    voc = Path(root) / 'voc'
    if not voc.is_dir():
        write_toy_voc(voc)
    split = dict(
        type='PDVOCDataset',
        data_root=f'{voc}/',
        metainfo=dict(classes=CLASSES),
        serialize_data=False,
    )
    files = {name: f'ImageSets/Main/{name}.txt' for name in ('train', 'val', 'test')}
    config = Config(
        dict(
            ratio=ratio,
            student_pyramid='fine',
            pretrained=False,
            stages=dict(
                teacher=dict(detector=toy_retinanet(base_channels=8), size='hr'),
                assistant=dict(detector=toy_retinanet(), size='hr', guide='teacher', terms=TERMS),
                student=dict(detector=toy_retinanet(), size='lr', guide='assistant', init_from='guide', terms=TERMS),
            ),
            data=dict(
                **{name: dict(ann_file=file, **split) for name, file in files.items()},
                hr_scale=(64, 48),
                batch_size=2,
                num_workers=0,
            ),
            schedule=dict(max_epochs=epochs, warmup_iters=2, val_interval=1),
            optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.01, momentum=0.9)),
            default_hooks=dict(
                timer=dict(type='IterTimerHook'),
                logger=dict(type='LoggerHook', interval=1),
                param_scheduler=dict(type='ParamSchedulerHook'),
                sampler_seed=dict(type='DistSamplerSeedHook'),
            ),
            randomness=dict(seed=0),
            log_level='WARNING',
        )
    )
    config.merge_from_dict(changes)
    return config


def save_weights(
    model: dict, path: str | Path, confidence: float | None = 0.3, seed: int = 0, spread: float = 0.5
) -> nn.Module:
    """Initialise a detector, save its plain weights to `path`, and return it in eval.

    A detector that starts to train says 0.01 everywhere, which is below every confidence threshold; a guide that has
    learned something does not.

    Args:
        confidence: score around which the head's class scores lie; None keeps mmdet's initial 0.01.
        spread: deviation of the random bias of the last layers, so that scores and boxes differ.
    """
    torch.manual_seed(seed)
    net = build_model(model)
    net.init_weights()
    if confidence is not None:
        with torch.no_grad():
            bias = net.bbox_head.retina_cls.bias
            bias.copy_(torch.logit(torch.tensor(confidence)) + spread * torch.randn_like(bias))
            net.bbox_head.retina_cls.weight.mul_(10)
            net.bbox_head.retina_reg.weight.mul_(5)
            for module in net.modules():  # statistics that differ from those of a network that was just built
                if isinstance(module, nn.BatchNorm2d):
                    module.running_mean.normal_(0, 0.1)
                    module.running_var.uniform_(0.5, 1.5)
    torch.save(dict(state_dict=net.state_dict(), meta=dict(dataset_meta=dict(classes=CLASSES))), path)
    return net.eval()


def build_distiller(folder: str | Path, init: bool = True, **config: Any) -> Distiller:
    """A Distiller with toy networks whose guide's weights are in `folder`/guide.pth (written if absent).

    Args:
        init: call `init_weights()`, which loads the guide.
        config: arguments of the Distiller; default: a 'fine' student at ratio 2 with all default terms.
    """
    config = {'guide': toy_retinanet(), 'student': unfrozen(toy_retinanet(start_level=0)), 'ratio': 2} | config
    file = Path(folder) / 'guide.pth'
    if 'guide_checkpoint' not in config:
        if not file.is_file():
            save_weights(config['guide'], file)
        config['guide_checkpoint'] = str(file)
    torch.manual_seed(1)
    distiller = build_model({'type': 'Distiller', 'terms': TERMS, **config})
    if init:
        distiller.init_weights()
    return distiller


def toy_pair_batch(ratio: Any = 2, sizes: tuple[tuple[int, int], ...] = ((24, 32), (20, 30)), seed: int = 0) -> dict:
    """What the dataloader gives the Distiller: uint8 images, LR (h, w) and HR ratio times that.

    Returns:
        dict(inputs=dict(lr=[…], hr=[…]), data_samples=[…]), one or two boxes each, in LR pixels. LR sides are rounded
        up to a multiple of the ratio's denominator.
    """
    from mmpd.data.reduction import parse_ratio, reduce_image

    exact = parse_ratio(ratio)
    rng = np.random.default_rng(seed)
    batch: dict = dict(inputs=dict(lr=[], hr=[]), data_samples=[])
    for index, size in enumerate(sizes):
        height, width = (side + -side % exact.denominator for side in size)
        image = rng.integers(0, 256, (int(height * exact), int(width * exact), 3), np.uint8)
        image = cv2.blur(image, (5, 5))
        for key, img in (('hr', image), ('lr', reduce_image(image, exact))):
            batch['inputs'][key].append(torch.from_numpy(np.ascontiguousarray(img.transpose(2, 0, 1))))
        boxes = torch.tensor([[2.0, 2.0, 14.0, 14.0], [12.0, 4.0, 26.0, 16.0]])[: 1 + index % 2]
        sample = DetDataSample(
            metainfo=dict(img_id=index, img_shape=(height, width), ori_shape=(height, width), scale_factor=(1.0, 1.0)),
            gt_instances=InstanceData(bboxes=boxes, labels=torch.arange(len(boxes)) % 2),
            ignored_instances=InstanceData(bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long)),
        )
        batch['data_samples'].append(sample)
    return batch


def first_losses(distiller: Distiller, batch: dict | None = None) -> dict[str, torch.Tensor]:
    """Named losses of one step, each summed over its levels."""
    data = distiller.data_preprocessor(batch or toy_pair_batch(distiller.alignment.ratio), True)
    losses = distiller(**data, mode='loss')
    return {name: sum(value) if isinstance(value, list) else value for name, value in losses.items()}
