# What an alignment keeps of a guide, for each head family, on BCCD: trained guides, each with a student to align with.
# tools/train.py configs/guide_ap_bccd.py --stage teacher --work-dir W
# tools/train.py configs/guide_ap_bccd.py --stage fcos --work-dir W
# tools/check.py configs/guide_ap_bccd.py --stage fcos_lr --guide-ap W/fcos/fcos_best.pth --cfg-options ratio=4
# The guides start from pd_bccd.py's teacher (its backbone, and its neck where the names fit) and train briefly: what is
# measured is the share that an alignment keeps, not how good a family is. RTMDet's backbone is another: from scratch.
_base_ = ['pd_bccd.py']

backbone = dict(backbone=dict(depth=18, base_channels=32, init_cfg=None))
narrow = dict(**backbone, neck=dict(in_channels=[32, 64, 128, 256], out_channels=64))
one_stage = dict(**narrow, bbox_head=dict(in_channels=64, feat_channels=64, stacked_convs=2))
two_stage = dict(
    **narrow,
    rpn_head=dict(in_channels=64, feat_channels=64),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=64), bbox_head=dict(in_channels=64, fc_out_channels=256)
    ),
)  # fmt: skip
rtmdet = dict(backbone=dict(init_cfg=None), data_preprocessor=dict(pad_size_divisor=32))
families = dict(
    fcos=dict(
        detector='mmdet::fcos/fcos_r18_fpn_gn-head-center-normbbox-centeronreg-giou_8xb8-amp-lsj-200e_coco.py',
        overrides=dict(**one_stage, data_preprocessor=dict(batch_augments=None)),
    ),
    atss=dict(detector='mmdet::atss/atss_r50_fpn_1x_coco.py', overrides=one_stage),
    gfl=dict(detector='mmdet::gfl/gfl_r50_fpn_1x_coco.py', overrides=one_stage),
    rtmdet=dict(detector='mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py', overrides=rtmdet),
    faster_rcnn=dict(detector='mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py', overrides=two_stage),
)
schedule = dict(max_epochs=6, val_interval=3)
response = dict(response=dict(type='ResponseTerm'))
teacher = dict(**_base_.stages.teacher, schedule=dict(max_epochs=20, val_interval=5))
stages = dict(_delete_=True, teacher=teacher)
stages.update({name: dict(**family, size='hr', init_from='teacher') for name, family in families.items()})
stages['rtmdet'] = dict(**families['rtmdet'], size='hr', schedule=dict(max_epochs=8, val_interval=4))
stages.update(
    {f'{name}_lr': dict(**family, size='lr', guide=name, terms=response) for name, family in families.items()}
)
