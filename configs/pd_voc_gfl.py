# GFL R50@HR → R18@HR → R18@LR on PASCAL VOC. Box sides are distributions over distances in strides: they are compared
# where the HR-equivalent strides agree (`fine` at ratio 2), and as boxes everywhere.
_base_ = ['pd_voc.py']

r50 = 'mmdet::gfl/gfl_r50_fpn_1x_coco.py'
r18 = dict(
    backbone=dict(depth=18, init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet18')),
    neck=dict(in_channels=[64, 128, 256, 512]),
)
stages = dict(  # guides, sizes and terms are those of pd_voc.py
    teacher=dict(detector=r50),
    assistant=dict(detector=r50, overrides=r18),
    student=dict(detector=r50, overrides=r18),
)
