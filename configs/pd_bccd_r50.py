# The full-size chain on BCCD: R50@320×240 → R18@320×240 → R18@160×120. Meant for a GPU.
_base_ = ['pd_bccd.py']

heads = dict(
    backbone=dict(base_channels=64),
    neck=dict(in_channels=[64, 128, 256, 512], out_channels=64),
    bbox_head={{_base_.narrow.bbox_head}},
)
stages = dict(
    teacher=dict(
        detector='mmdet::retinanet/retinanet_r50_fpn_1x_coco.py',
        overrides=dict(_delete_=True, neck=dict(out_channels=64), bbox_head={{_base_.narrow.bbox_head}}),
        schedule=dict(max_epochs=60),
    ),
    assistant=dict(overrides=heads, init_from=None, schedule=dict(max_epochs=60)),
    student=dict(overrides=heads, schedule=dict(max_epochs=60)),
)
del heads
