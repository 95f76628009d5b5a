# ATSS R50@HR → R18@HR → R18@LR on PASCAL VOC: one anchor per cell, centerness.
_base_ = ['pd_voc.py']

r18 = 'mmdet::atss/atss_r18_fpn_8xb8-amp-lsj-200e_coco.py'
# The R18 file pads every batch to 1024×1024, which would change one size of a pair and not the other.
no_batch_augments = dict(data_preprocessor=dict(batch_augments=None))
stages = dict(  # guides, sizes and terms are those of pd_voc.py
    teacher=dict(detector='mmdet::atss/atss_r50_fpn_1x_coco.py'),
    assistant=dict(detector=r18, overrides=no_batch_augments),
    student=dict(detector=r18, overrides=no_batch_augments),
)
