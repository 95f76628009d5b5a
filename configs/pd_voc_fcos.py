# FCOS R50@HR → R18@HR → R18@LR on PASCAL VOC. Points with regression ranges: `fine` divides the ranges as well as the
# strides, so at ratio 2 every student level has the points and the ranges of its guide level.
_base_ = ['pd_voc.py']

r50 = 'mmdet::fcos/fcos_r50_fpn_gn-head-center-normbbox-centeronreg-giou_8xb8-amp-lsj-200e_coco.py'
r18 = 'mmdet::fcos/fcos_r18_fpn_gn-head-center-normbbox-centeronreg-giou_8xb8-amp-lsj-200e_coco.py'
# The file pads every batch to 1024×1024, which would change one size of a pair and not the other.
no_batch_augments = dict(data_preprocessor=dict(batch_augments=None))
stages = dict(  # guides, sizes and terms are those of pd_voc.py
    teacher=dict(detector=r50, overrides=no_batch_augments),
    assistant=dict(detector=r18, overrides=no_batch_augments),
    student=dict(detector=r18, overrides=no_batch_augments),
)
