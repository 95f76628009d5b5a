custom_imports = dict(
    allow_failed_imports=False, imports=[
        'mmpd',
        'mmpd.progress',
    ])
default_scope = 'mmdet'
model = dict(
    backbone=dict(
        base_channels=4,
        depth=18,
        frozen_stages=-1,
        norm_cfg=dict(requires_grad=True, type='BN'),
        norm_eval=False,
        num_stages=4,
        out_indices=(
            0,
            1,
            2,
            3,
        ),
        style='pytorch',
        type='ResNet'),
    bbox_head=dict(
        anchor_generator=dict(
            octave_base_scale=2.0,
            ratios=[
                1.0,
            ],
            scales_per_octave=1,
            strides=[
                8,
                16,
                32,
                64,
            ],
            type='AnchorGenerator'),
        bbox_coder=dict(type='DeltaXYWHBBoxCoder'),
        feat_channels=8,
        in_channels=8,
        loss_bbox=dict(loss_weight=1.0, type='L1Loss'),
        loss_cls=dict(
            alpha=0.25,
            gamma=2.0,
            loss_weight=1.0,
            type='FocalLoss',
            use_sigmoid=True),
        num_classes=2,
        stacked_convs=1,
        type='RetinaHead'),
    data_preprocessor=dict(
        bgr_to_rgb=True,
        mean=[
            123.675,
            116.28,
            103.53,
        ],
        pad_size_divisor=32,
        std=[
            58.395,
            57.12,
            57.375,
        ],
        type='DetDataPreprocessor'),
    neck=dict(
        add_extra_convs='on_input',
        in_channels=[
            4,
            8,
            16,
            32,
        ],
        num_outs=4,
        out_channels=8,
        start_level=1,
        type='FPN'),
    test_cfg=dict(
        max_per_img=20,
        min_bbox_size=0,
        nms=dict(iou_threshold=0.5, type='nms'),
        nms_pre=100,
        score_thr=0.01),
    train_cfg=dict(
        allowed_border=-1,
        assigner=dict(
            ignore_iof_thr=-1,
            min_pos_iou=0,
            neg_iou_thr=0.4,
            pos_iou_thr=0.5,
            type='MaxIoUAssigner'),
        debug=False,
        pos_weight=-1,
        sampler=dict(type='PseudoSampler')),
    type='RetinaNet')
test_cfg = dict(type='TestLoop')
test_dataloader = dict(
    batch_size=2,
    dataset=dict(
        ann_file='ImageSets/Main/test.txt',
        data_root='voc/',
        metainfo=dict(classes=(
            'square',
            'disc',
        )),
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(keep_ratio=True, scale=(
                64,
                48,
            ), type='Resize'),
            dict(
                keep_hr=False,
                operator='area',
                ratio='1',
                type='ReduceResolution'),
            dict(type='LoadAnnotations', with_bbox=True),
            dict(
                meta_keys=[
                    'img_id',
                    'img_path',
                    'ori_shape',
                    'img_shape',
                    'scale_factor',
                    'hr_scale_factor',
                    'flip',
                    'flip_direction',
                ],
                type='PackDetInputs'),
        ],
        serialize_data=False,
        test_mode=True,
        type='PDVOCDataset'),
    drop_last=False,
    num_workers=0,
    persistent_workers=False,
    sampler=dict(shuffle=False, type='DefaultSampler'))
test_evaluator = dict(type='PDMetric')
val_cfg = dict(type='ValLoop')
val_dataloader = dict(
    batch_size=2,
    dataset=dict(
        ann_file='ImageSets/Main/val.txt',
        data_root='voc/',
        metainfo=dict(classes=(
            'square',
            'disc',
        )),
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(keep_ratio=True, scale=(
                64,
                48,
            ), type='Resize'),
            dict(
                keep_hr=False,
                operator='area',
                ratio='1',
                type='ReduceResolution'),
            dict(type='LoadAnnotations', with_bbox=True),
            dict(
                meta_keys=[
                    'img_id',
                    'img_path',
                    'ori_shape',
                    'img_shape',
                    'scale_factor',
                    'hr_scale_factor',
                    'flip',
                    'flip_direction',
                ],
                type='PackDetInputs'),
        ],
        serialize_data=False,
        test_mode=True,
        type='PDVOCDataset'),
    drop_last=False,
    num_workers=0,
    persistent_workers=False,
    sampler=dict(shuffle=False, type='DefaultSampler'))
val_evaluator = dict(type='PDMetric')
