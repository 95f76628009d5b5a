# Different families: Faster R-CNN R50@HR → RetinaNet R18@HR → RetinaNet R18@LR on PASCAL VOC.
# Off in the assistant stage: response. The teacher's dense head is an RPN, which scores one class ("object") on 3
# anchors per cell; the assistant scores 20 classes on 9. Features are resampled: the pyramids share strides, not sizes.
_base_ = ['pd_voc.py']

stages = dict(  # all else is that of pd_voc.py
    teacher=dict(detector='mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'),
    assistant=dict(terms=dict(response=None)),
)
