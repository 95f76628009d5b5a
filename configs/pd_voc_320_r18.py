# pd_voc_320.py sized for a CPU: half-width R18@320 → R18@160, in a few epochs from scratch. The assistant has its
# teacher's architecture, so it goes on from the teacher's weights, alone. Too short for a good detector: it compares a
# distilled student with plain ones (docs/results.md).
_base_ = ['pd_voc_320.py']

data = dict(batch_size=4, batch_by_shape=False)  # docs/results.md was measured so
schedule = dict(max_epochs=5, warmup_iters=200, val_interval=1)
r18 = 'mmdet::retinanet/retinanet_r18_fpn_1x_coco.py'
# `pretrained=True` starts the backbones from the classification teacher of the same data's crops, which has them:
# `tools/train.py configs/classification/pd_voc_crops.py --stage teacher` trains it in minutes.
crops = dict(checkpoint='work_dirs/pd_voc_crops/teacher/teacher_best.pth', prefix='backbone.')
narrow = dict(
    backbone=dict(base_channels=32, init_cfg=crops),
    neck=dict(in_channels=[32, 64, 128, 256], out_channels=64),
    bbox_head=dict(in_channels=64, feat_channels=64, stacked_convs=2),
)
terms = dict(  # weights as in pd_bccd.py
    feature=dict(type='FeatureTerm', loss_weight=8.0),
    response=dict(type='ResponseTerm', loss_weight=8.0),
    isrd=dict(type='ISRDTerm', loss_weight=0.1),
)
stages = dict(
    _delete_=True,
    teacher=dict(detector=r18, overrides=narrow, size='hr', schedule=dict(max_epochs=8)),
    assistant=dict(detector=r18, overrides=narrow, size='hr', init_from='teacher', schedule=dict(max_epochs=8)),
    student=dict(detector=r18, overrides=narrow, size='lr', guide='assistant', init_from='guide', terms=terms),
)
