"""mmdet's model zoo at an eighth of its width: a family's own config, shrunk until a step takes milliseconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmpd.chain.chain import Chain, read_chain
from mmpd.chain.detector import detector_config
from mmpd.nested import walk_dicts
from tests.toys import CLASSES, write_toy_voc

from mmengine.config import Config, ConfigDict

SHRINK = 8
WIDTHS = {
    'in_channels', 'out_channels', 'feat_channels', 'fc_out_channels', 'conv_out_channels', 'embed_dims', 'channels',
    'feedforward_channels', 'num_feats', 'base_channels', 'point_feat_channels', 'num_deconv_filters', 'feat_channel',
    'squeeze_channels', 'proto_channels', 'block_mid_channels', 'stage_channels', 'mid_channels', 'num_channels',
    'proposal_feature_channel', 'input_feat_shape', 'inter_channels', 'output_channels',
}  # fmt: skip
BASE_CHANNELS = ('ResNet', 'DetectoRS_ResNet', 'Trident', 'Res2Net', 'ResNeSt', 'RegNet')
SIZE = (128, 96)
"""(width, height) of the drawn HR images."""


def shrunk(detector: str | dict, *, divide: bool = True, **overrides: Any) -> ConfigDict:
    """The model of one of mmdet's config files (or a model), its channels divided by `SHRINK`, with 10 queries at most.

    Args:
        divide: False where the backbone has no width of its own; its overrides say what is narrow.
        overrides: merged in last.
    """
    model = detector_config(f'mmdet::{detector}' if isinstance(detector, str) else detector, pretrained=False)
    backbone = model.get('backbone') or {}
    if str(backbone.get('type')).startswith(BASE_CHANNELS) and divide and 'Reg' not in backbone['type']:
        backbone.setdefault('base_channels', 64)
        if backbone.get('depth') == 101:
            backbone['depth'] = 50
    for part in walk_dicts(model):
        for key, value in list(part.items()):
            if key in WIDTHS and divide:
                part[key] = _thin(value)
        if part.get('type') == 'GN' and 'num_groups' in part:
            part['num_groups'] = 4
        if part.get('type') == 'SyncBN':
            part['type'] = 'BN'
    if 'num_queries' in model:
        model['num_queries'] = model['test_cfg']['max_per_img'] = 10
    return Config._merge_a_into_b(ConfigDict(overrides), model)


def _thin(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return type(value)(_thin(one) for one in value)
    return max(value // SHRINK, 1) if isinstance(value, int) and value >= 16 else value


def zoo_chain(
    root: Path, teacher: dict, student: dict, terms: dict, size: tuple[int, int] = SIZE, **changes: Any
) -> Chain:
    """A teacher and a student at ratio 2, on drawn images of `size`.

    Args:
        teacher, student: model configs. changes: of the chain config.
    """
    voc = root / f'voc_{size[0]}'
    if not voc.is_dir():
        write_toy_voc(voc, size=size)
    split = dict(
        type='PDVOCDataset', data_root=f'{voc}/', data_prefix=dict(sub_data_root=''), metainfo=dict(classes=CLASSES)
    )
    files = {name: f'ImageSets/Main/{name}.txt' for name in ('train', 'val', 'test')}
    config = Config(
        dict(
            ratio=2,
            pretrained=False,
            student_pyramid='fine',
            stages=dict(
                teacher=dict(detector=teacher, size='hr'),
                student=dict(detector=student, size='lr', guide='teacher', terms=terms),
            ),
            data=dict(
                **{name: dict(ann_file=file, **split) for name, file in files.items()},
                hr_scale=size,
                batch_size=2,
                num_workers=0,
            ),
            schedule=dict(max_epochs=1, warmup_iters=0),
            optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.01)),
        )
    )
    config.merge_from_dict(changes)
    return read_chain(config)
