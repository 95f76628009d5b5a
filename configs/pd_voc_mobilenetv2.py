# Different backbones: RetinaNet R50@HR → MobileNetV2@HR → MobileNetV2@LR on PASCAL VOC. All terms are on: heads and
# pyramids agree, whatever the backbone.
_base_ = ['_base_/voc.py', '_base_/schedule.py', '_base_/runtime.py']

ratio = 2
student_pyramid = 'fine'
reduction = 'area'
pretrained = True

retinanet = 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'
mobilenet = dict(
    backbone=dict(
        _delete_=True,
        type='MobileNetV2',
        out_indices=(1, 2, 4, 7),  # 7 is the last layer: one that no loss reaches would stop a DDP run
        act_cfg=dict(type='ReLU6'),
        init_cfg=dict(type='Pretrained', checkpoint='open-mmlab://mmdet/mobilenet_v2'),
    ),
    neck=dict(in_channels=[24, 32, 96, 1280]),
)
terms = dict(
    feature=dict(type='FeatureTerm', loss_weight=1.0),
    response=dict(type='ResponseTerm', loss_weight=1.0),
    isrd=dict(type='ISRDTerm', loss_weight=0.1),
)
stages = dict(
    teacher=dict(detector=retinanet, size='hr'),
    assistant=dict(detector=retinanet, overrides=mobilenet, size='hr', guide='teacher', terms=terms),
    student=dict(detector=retinanet, overrides=mobilenet, size='lr', guide='assistant', init_from='guide', terms=terms),
)
