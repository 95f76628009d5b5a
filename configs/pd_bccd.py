# RetinaNet on BCCD blood cells, sized for a CPU: three half-width R18, the student at 160×120 instead of 320×240, and
# at 80×60 with `--cfg-options ratio=4`. From scratch. pd_bccd_r50.py has the full-size chain R50 → R18 → R18.
_base_ = ['_base_/bccd.py', '_base_/schedule.py', '_base_/runtime.py']

ratio = 2
student_pyramid = 'fine'
pretrained = False
save_best = 'pd/AP'
guide_cache = 4096  # MiB; flips are the only augmentation, so every guide output comes back
schedule = dict(max_epochs=20, warmup_iters=100, val_interval=5)
optim_wrapper = dict(
    _delete_=True,
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05, fused=True),
    clip_grad=dict(max_norm=10, norm_type=2),
)

# Platelets are 20 pixels at HR and 5 at ratio 4, white cells 100 and 25. Four anchor sizes from 1.3 strides up keep
# every level dense, fit the platelets on the finest level of either network, and overlap from level to level, so the
# guide level that serves the student's finest knows the small cells as well.
anchors = dict(anchor_generator=dict(octave_base_scale=None, scales_per_octave=None, scales=[1.3, 2, 3, 4.5]))
narrow = dict(
    backbone=dict(base_channels=32),
    neck=dict(in_channels=[32, 64, 128, 256], out_channels=64),
    bbox_head=dict(in_channels=64, feat_channels=64, stacked_convs=2, **anchors),
)
r18 = 'mmdet::retinanet/retinanet_r18_fpn_1x_coco.py'
isrd = dict(type='ISRDTerm', loss_weight=0.1)
terms = dict(
    feature=dict(type='FeatureTerm', loss_weight=1.0),
    response=dict(type='ResponseTerm', loss_weight=1.0),
    isrd=isrd,
)
# Chosen on val at ratio 4, of 1, 2, 4 and 8 (docs/results.md).
strong_terms = dict(
    feature=dict(type='FeatureTerm', loss_weight=8.0),
    response=dict(type='ResponseTerm', loss_weight=8.0),
    isrd=isrd,
)
stages = dict(
    teacher=dict(detector=r18, overrides=narrow, size='hr'),
    assistant=dict(
        detector=r18,
        overrides=narrow,
        size='hr',
        guide='teacher',
        init_from='guide',
        terms=terms,
        schedule=dict(max_epochs=10),
    ),
    student=dict(detector=r18, overrides=narrow, size='lr', guide='assistant', init_from='guide', terms=strong_terms),
)
