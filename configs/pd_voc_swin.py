# CNN to transformer: RetinaNet R50@HR → Swin-T@HR → Swin-T@LR on PASCAL VOC. All terms are on; the stem that ISRD reads
# is the patch embedding's convolution. Swin returns only the levels that the neck takes, so the student's finer pyramid
# is written out: one stage more, strides halved.
_base_ = ['_base_/voc.py', '_base_/schedule.py', '_base_/runtime.py']

ratio = 2
student_pyramid = 'cheap'
reduction = 'area'
pretrained = True

swin = 'mmdet::swin/retinanet_swin-t-p4-w7_fpn_1x_coco.py'
from_p2 = dict(
    backbone=dict(out_indices=(0, 1, 2, 3)),
    neck=dict(in_channels=[96, 192, 384, 768]),
    bbox_head=dict(anchor_generator=dict(strides=[4, 8, 16, 32, 64])),
)
terms = dict(
    feature=dict(type='FeatureTerm', loss_weight=1.0),
    response=dict(type='ResponseTerm', loss_weight=1.0),
    isrd=dict(type='ISRDTerm', loss_weight=0.1),
)
stages = dict(
    teacher=dict(detector='mmdet::retinanet/retinanet_r50_fpn_1x_coco.py', size='hr'),
    assistant=dict(detector=swin, size='hr', guide='teacher', terms=terms),
    student=dict(detector=swin, overrides=from_p2, size='lr', guide='assistant', init_from='guide', terms=terms),
)

optim_wrapper = dict(
    _delete_=True,
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=0.0001, weight_decay=0.05),
    clip_grad=dict(max_norm=35, norm_type=2),
)
