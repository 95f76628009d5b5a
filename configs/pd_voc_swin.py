# CNN to transformer: RetinaNet R50@HR → Swin-T@HR → Swin-T@LR on PASCAL VOC. All terms are on; the stem that ISRD reads
# is the patch embedding's convolution. Swin returns only the levels that the neck takes, so the student's finer pyramid
# is written out: one stage more, strides halved.
_base_ = ['pd_voc.py']

student_pyramid = 'cheap'

swin = 'mmdet::swin/retinanet_swin-t-p4-w7_fpn_1x_coco.py'
from_p2 = dict(
    backbone=dict(out_indices=(0, 1, 2, 3)),
    neck=dict(in_channels=[96, 192, 384, 768]),
    bbox_head=dict(anchor_generator=dict(strides=[4, 8, 16, 32, 64])),
)
stages = dict(  # guides, sizes and terms are those of pd_voc.py
    teacher=dict(detector='mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'),
    assistant=dict(detector=swin),
    student=dict(detector=swin, overrides=from_p2),
)

optim_wrapper = dict(
    _delete_=True,
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=0.0001, weight_decay=0.05),
    clip_grad=dict(max_norm=35, norm_type=2),
)
