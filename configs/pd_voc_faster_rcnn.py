# Faster R-CNN R50@HR → R18@HR → R18@LR on PASCAL VOC. `response` compares the RPNs; `roi` compares the RoI heads on the
# student's proposals × ratio. The FPN starts at P2 and a ResNet has nothing finer, so the student is `cheap`: its P2
# meets the guide's P3; for a finer grid use FSR (pd_voc_fsr.py). At ratios 3 and 4 give its RPN smaller anchors:
# stages.student.overrides.rpn_head.anchor_generator.scales=[2] (docs/method.md).
_base_ = ['pd_voc.py']

student_pyramid = 'cheap'

r18 = 'mmdet::faster_rcnn/faster-rcnn_r18_fpn_8xb8-amp-lsj-200e_coco.py'
# The R18 file pads every batch to 1024×1024, which would change one size of a pair and not the other.
no_batch_augments = dict(data_preprocessor=dict(batch_augments=None))
terms = dict(roi=dict(type='RoITerm', loss_weight=1.0))
stages = dict(  # guides, sizes and the other terms are those of pd_voc.py
    teacher=dict(detector='mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'),
    assistant=dict(detector=r18, overrides=no_batch_augments, terms=terms),
    student=dict(detector=r18, overrides=no_batch_augments, terms=terms),
)
