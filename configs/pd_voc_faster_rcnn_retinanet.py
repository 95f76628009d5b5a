# Different families: Faster R-CNN R50@HR → RetinaNet R18@HR → RetinaNet R18@LR on PASCAL VOC.
# Off in the assistant stage: response. The teacher's dense head is an RPN, which scores one class ("object") on 3
# anchors per cell; the assistant scores 20 classes on 9. Features are resampled: the pyramids share strides, not sizes.
_base_ = ['_base_/voc.py', '_base_/schedule.py', '_base_/runtime.py']

ratio = 2
student_pyramid = 'fine'
reduction = 'area'
pretrained = True

r18 = 'mmdet::retinanet/retinanet_r18_fpn_1x_coco.py'
feature = dict(type='FeatureTerm', loss_weight=1.0)
response = dict(type='ResponseTerm', loss_weight=1.0)
isrd = dict(type='ISRDTerm', loss_weight=0.1)
stages = dict(
    teacher=dict(detector='mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py', size='hr'),
    assistant=dict(detector=r18, size='hr', guide='teacher', terms=dict(feature=feature, isrd=isrd)),
    student=dict(
        detector=r18,
        size='lr',
        guide='assistant',
        init_from='guide',
        terms=dict(feature=feature, response=response, isrd=isrd),
    ),
)
