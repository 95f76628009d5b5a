# FCOS R50@HR → R18@HR → R18@LR on PASCAL VOC. Points with regression ranges: `fine` divides the ranges as well as the
# strides, so at ratio 2 every student level has the points and the ranges of its guide level.
_base_ = ['_base_/voc.py', '_base_/schedule.py', '_base_/runtime.py']

ratio = 2
student_pyramid = 'fine'
reduction = 'area'
pretrained = True

r50 = 'mmdet::fcos/fcos_r50_fpn_gn-head-center-normbbox-centeronreg-giou_8xb8-amp-lsj-200e_coco.py'
r18 = 'mmdet::fcos/fcos_r18_fpn_gn-head-center-normbbox-centeronreg-giou_8xb8-amp-lsj-200e_coco.py'
# The file pads every batch to 1024×1024, which would change one size of a pair and not the other.
no_batch_augments = dict(data_preprocessor=dict(batch_augments=None))
terms = dict(
    feature=dict(type='FeatureTerm', loss_weight=1.0),
    response=dict(type='ResponseTerm', loss_weight=1.0),
    isrd=dict(type='ISRDTerm', loss_weight=0.1),
)
stages = dict(
    teacher=dict(detector=r50, overrides=no_batch_augments, size='hr'),
    assistant=dict(detector=r18, overrides=no_batch_augments, size='hr', guide='teacher', terms=terms),
    student=dict(
        detector=r18, overrides=no_batch_augments, size='lr', guide='assistant', init_from='guide', terms=terms
    ),
)
