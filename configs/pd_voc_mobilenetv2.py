# Different backbones: RetinaNet R50@HR → MobileNetV2@HR → MobileNetV2@LR on PASCAL VOC. All terms are on: heads and
# pyramids agree, whatever the backbone.
_base_ = ['pd_voc.py']

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
stages = dict(  # guides, sizes and terms are those of pd_voc.py
    teacher=dict(detector=retinanet),
    assistant=dict(detector=retinanet, overrides=mobilenet),
    student=dict(detector=retinanet, overrides=mobilenet),
)
