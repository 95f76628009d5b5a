# The main config: RetinaNet R50@HR → R18@HR → R18@LR on PASCAL VOC, half the side, a quarter of the pixels.
_base_ = ['_base_/voc.py', '_base_/schedule.py', '_base_/runtime.py']

ratio = 2
student_pyramid = 'fine'
reduction = 'area'
pretrained = True  # ImageNet weights (torchvision://); False trains from scratch

terms = dict(
    feature=dict(type='FeatureTerm', loss_weight=1.0),
    response=dict(type='ResponseTerm', loss_weight=1.0),
    isrd=dict(type='ISRDTerm', loss_weight=0.1),
)
stages = dict(
    teacher=dict(detector='mmdet::retinanet/retinanet_r50_fpn_1x_coco.py', size='hr'),
    assistant=dict(detector='mmdet::retinanet/retinanet_r18_fpn_1x_coco.py', size='hr', guide='teacher', terms=terms),
    student=dict(
        detector='mmdet::retinanet/retinanet_r18_fpn_1x_coco.py',
        size='lr',
        guide='assistant',
        init_from='guide',
        terms=terms,
    ),
)
