"""Every `configs/pd_voc*.py` with networks, images and a data set so small that a training step takes milliseconds."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import mmpd  # noqa: F401
from mmpd.chain.chain import Chain, read_chain
from tests.toys import CLASSES, write_toy_voc

from mmengine.config import Config, ConfigDict

CONFIGS = Path(__file__).parents[1] / 'configs'
FAMILIES = sorted(path.stem for path in CONFIGS.glob('pd_voc*.py'))
WIDTH = 8

HEAD = dict(in_channels=WIDTH, feat_channels=WIDTH, stacked_convs=1)
RPN_AND_ROI = dict(
    neck=dict(out_channels=WIDTH),
    rpn_head=dict(in_channels=WIDTH, feat_channels=WIDTH),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=WIDTH),
        bbox_head=dict(in_channels=WIDTH, fc_out_channels=16),
    ),
)


def merge(below: dict, above: dict) -> ConfigDict:
    """`above` merged over `below`; neither is changed."""
    return Config._merge_a_into_b(ConfigDict(copy.deepcopy(above)), ConfigDict(copy.deepcopy(below)))


def chain_of(teacher: dict, assistant: dict, student: dict | None = None) -> dict[str, dict]:
    return dict(teacher=teacher, assistant=assistant, student=student or assistant)


def resnet(depth: int, first: int = 0) -> dict:
    """Overrides of a ResNet and its neck's inputs, from stage `first` on."""
    expansion = 4 if depth == 50 else 1
    widths = [4 * expansion * 2**stage for stage in range(4)]
    return dict(backbone=dict(base_channels=4), neck=dict(in_channels=widths[first:]))


def one_stage(depth: int) -> dict:
    return merge(resnet(depth), dict(neck=dict(out_channels=WIDTH), bbox_head=HEAD))


def group_norm(model: dict) -> dict:
    return merge(model, dict(bbox_head=dict(norm_cfg=dict(type='GN', num_groups=4, requires_grad=True))))


def rtmdet(depth: float) -> dict:
    widths = [16, 32, 64]
    return dict(
        backbone=dict(widen_factor=1 / 16, deepen_factor=depth),
        neck=dict(in_channels=widths, out_channels=WIDTH, num_csp_blocks=1),
        bbox_head=dict(in_channels=WIDTH, feat_channels=WIDTH),
    )


def faster_rcnn(depth: int) -> dict:
    return merge(resnet(depth), RPN_AND_ROI)


def dino(depth: int) -> dict:
    """At mmdet's own width of 256: its release 3.3.0 encodes positions for no other."""
    layer = dict(ffn_cfg=dict(feedforward_channels=16))
    return merge(
        resnet(depth, first=1),
        dict(
            num_queries=5,
            test_cfg=dict(max_per_img=5),
            encoder=dict(num_layers=1, layer_cfg=layer),
            decoder=dict(num_layers=1, layer_cfg=layer),
            dn_cfg=dict(group_cfg=dict(num_dn_queries=4)),
        ),
    )


SWIN = dict(
    backbone=dict(embed_dims=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2], window_size=4, drop_path_rate=0.0),
    neck=dict(in_channels=[16, 32, 64], out_channels=WIDTH),
    bbox_head=HEAD,
)
SWIN_FROM_P2 = merge(SWIN, dict(neck=dict(in_channels=[8, 16, 32, 64])))
MOBILENET = dict(
    backbone=dict(widen_factor=0.25), neck=dict(in_channels=[8, 8, 24, 1280], out_channels=WIDTH), bbox_head=HEAD
)
# A ResNet in the place of timm's networks, which the tests do without.
LITE = {
    **group_norm(one_stage(18)),
    'backbone': dict(_delete_=True, type='ResNet', depth=18, base_channels=4, norm_eval=False),
}
FSR_NECK = [
    dict(
        type='FPN',
        in_channels=[4, 8, 16, 32],
        out_channels=WIDTH,
        start_level=1,
        add_extra_convs='on_input',
        num_outs=5,
    ),
    dict(type='FSR', in_channels=WIDTH, ratio=2, num_levels=5),
]
TOY: dict[str, dict[str, dict]] = {
    'pd_voc': chain_of(one_stage(50), one_stage(18)),
    'pd_voc_320': chain_of(one_stage(50), one_stage(18)),
    'pd_voc_320_r18': chain_of(one_stage(18), one_stage(18)),
    'pd_voc_one_stage': dict(teacher=one_stage(50), student=one_stage(18)),
    'pd_voc_fcos': chain_of(group_norm(one_stage(50)), group_norm(one_stage(18))),
    'pd_voc_atss': chain_of(group_norm(one_stage(50)), group_norm(one_stage(18))),
    'pd_voc_gfl': chain_of(group_norm(one_stage(50)), group_norm(one_stage(18))),
    'pd_voc_lite': dict.fromkeys(('small', 'teacher', 'assistant', 'student'), LITE),
    'pd_voc_lite_80': dict.fromkeys(('small', 'teacher', 'assistant', 'student'), LITE),
    'pd_voc_rtmdet': chain_of(rtmdet(0.33), rtmdet(0.167)),
    'pd_voc_faster_rcnn': chain_of(faster_rcnn(50), faster_rcnn(18)),
    'pd_voc_dino': chain_of(dino(50), dino(18)),
    'pd_voc_faster_rcnn_retinanet': chain_of(faster_rcnn(50), one_stage(18)),
    'pd_voc_mobilenetv2': chain_of(one_stage(50), MOBILENET),
    'pd_voc_swin': chain_of(one_stage(50), SWIN, SWIN_FROM_P2),
    'pd_voc_fsr': chain_of(
        one_stage(50), one_stage(18), dict(backbone=dict(base_channels=4), neck=FSR_NECK, bbox_head=HEAD)
    ),
}


def toy_family(name: str, root: Path, **changes: Any) -> Chain:
    """The chain of `configs/<name>.py`, tiny, on a drawn VOC set in `root`.

    Args:
        changes: merged in last, dotted keys too.
    """
    config = Config.fromfile(CONFIGS / f'{name}.py')
    for stage, overrides in TOY[name].items():
        entry = config.stages[stage]
        entry.overrides = merge(entry.get('overrides', {}), overrides)
    config.pretrained = False
    config.data = toy_data(root)
    config.merge_from_dict(changes)
    return read_chain(config)


def toy_data(root: Path) -> ConfigDict:
    """`data` of a chain on images of 61 × 47 pixels, which no ratio divides; they are not resized."""
    if not (root / 'Annotations').is_dir():
        write_toy_voc(root, size=(61, 47))
    split = dict(
        type='PDVOCDataset', data_root=f'{root}/', data_prefix=dict(sub_data_root=''), metainfo=dict(classes=CLASSES)
    )
    files = {name: f'ImageSets/Main/{name}.txt' for name in ('train', 'val', 'test')}
    return ConfigDict(
        **{name: dict(ann_file=file, **split) for name, file in files.items()},
        hr_scale=(61, 47),
        batch_size=2,
        num_workers=0,
    )
