# RetinaNet R50@320×240 → R18@320×240 → R18@160×120 on BCCD; `--cfg-options ratio=4` makes the student see 80×60.
# 64-channel heads, from scratch. Platelets are 20 pixels at HR and 5 pixels at ratio 4.
_base_ = ['_base_/bccd.py', '_base_/schedule.py', '_base_/runtime.py']

ratio = 2
student_pyramid = 'fine'
pretrained = False
save_best = 'pd/AP'
schedule = dict(max_epochs=40, warmup_iters=100, val_interval=4)

small = dict(neck=dict(out_channels=64), bbox_head=dict(in_channels=64, feat_channels=64))
terms = dict(
    feature=dict(type='FeatureTerm', loss_weight=1.0),
    response=dict(type='ResponseTerm', loss_weight=1.0),
    isrd=dict(type='ISRDTerm', loss_weight=0.1),
)
stages = dict(
    teacher=dict(detector='mmdet::retinanet/retinanet_r50_fpn_1x_coco.py', overrides=small, size='hr'),
    assistant=dict(
        detector='mmdet::retinanet/retinanet_r18_fpn_1x_coco.py',
        overrides=small,
        size='hr',
        guide='teacher',
        terms=terms,
    ),
    student=dict(
        detector='mmdet::retinanet/retinanet_r18_fpn_1x_coco.py',
        overrides=small,
        size='lr',
        guide='assistant',
        init_from='guide',
        terms=terms,
    ),
)
