# DINO (a DETR) R50@HR → R18@HR → R18@LR on PASCAL VOC, terms feature and isrd.
# Off: response. A DETR's predictions are an unordered set, each query free to take any object: query i of the guide and
# query i of the student mean different things, and their one-to-one matching to the ground truth changes every step.
# AFP has no grid of responses to align, so the queries are left out.
_base_ = ['pd_voc.py']

student_pyramid = 'cheap'

r50 = 'mmdet::dino/dino-4scale_r50_8xb2-12e_coco.py'
# Two-stage: the queries are the best cells of the feature maps, so there can be no more of them than cells in the
# smallest LR image of the data.
common = dict(num_queries=100, backbone=dict(norm_cfg=dict(type='BN', requires_grad=True)))
r18 = dict(
    num_queries=100,
    backbone=dict(
        depth=18,
        norm_cfg=dict(type='BN', requires_grad=True),
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet18'),
    ),
    neck=dict(in_channels=[128, 256, 512]),
)
off = dict(response=None)
stages = dict(  # guides, sizes and the other terms are those of pd_voc.py
    teacher=dict(detector=r50, overrides=common),
    assistant=dict(detector=r50, overrides=r18, terms=off),
    student=dict(detector=r50, overrides=r18, terms=off),
)

optim_wrapper = dict(
    _delete_=True,
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=0.0001, weight_decay=0.0001),
    clip_grad=dict(max_norm=0.1, norm_type=2),
    paramwise_cfg=dict(custom_keys={'backbone': dict(lr_mult=0.1)}),
)
