# GFL R50@HR → R18@HR → R18@LR on PASCAL VOC. Box sides are distributions over distances in strides: they are compared
# where the HR-equivalent strides agree (`fine` at ratio 2), and as boxes everywhere.
_base_ = ['_base_/voc.py', '_base_/schedule.py', '_base_/runtime.py']

ratio = 2
student_pyramid = 'fine'
reduction = 'area'
pretrained = True

r50 = 'mmdet::gfl/gfl_r50_fpn_1x_coco.py'
r18 = dict(
    backbone=dict(depth=18, init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet18')),
    neck=dict(in_channels=[64, 128, 256, 512]),
)
terms = dict(
    feature=dict(type='FeatureTerm', loss_weight=1.0),
    response=dict(type='ResponseTerm', loss_weight=1.0),
    isrd=dict(type='ISRDTerm', loss_weight=0.1),
)
stages = dict(
    teacher=dict(detector=r50, size='hr'),
    assistant=dict(detector=r50, overrides=r18, size='hr', guide='teacher', terms=terms),
    student=dict(detector=r50, overrides=r18, size='lr', guide='assistant', init_from='guide', terms=terms),
)
