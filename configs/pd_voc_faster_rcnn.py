# Faster R-CNN R50@HR → R18@HR → R18@LR on PASCAL VOC. `response` compares the RPNs; `roi` compares the RoI heads on the
# student's proposals × ratio. The FPN starts at P2 and a ResNet has nothing finer, so the student is `cheap`: its P2
# meets the guide's P3; for a finer grid use FSR (pd_voc_fsr.py).
_base_ = ['_base_/voc.py', '_base_/schedule.py', '_base_/runtime.py']

ratio = 2
student_pyramid = 'cheap'
reduction = 'area'
pretrained = True

r18 = 'mmdet::faster_rcnn/faster-rcnn_r18_fpn_8xb8-amp-lsj-200e_coco.py'
# The R18 file pads every batch to 1024×1024, which would change one size of a pair and not the other.
no_batch_augments = dict(data_preprocessor=dict(batch_augments=None))
terms = dict(
    feature=dict(type='FeatureTerm', loss_weight=1.0),
    response=dict(type='ResponseTerm', loss_weight=1.0),
    roi=dict(type='RoITerm', loss_weight=1.0),
    isrd=dict(type='ISRDTerm', loss_weight=0.1),
)
stages = dict(
    teacher=dict(detector='mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py', size='hr'),
    assistant=dict(detector=r18, overrides=no_batch_augments, size='hr', guide='teacher', terms=terms),
    student=dict(
        detector=r18, overrides=no_batch_augments, size='lr', guide='assistant', init_from='guide', terms=terms
    ),
)
