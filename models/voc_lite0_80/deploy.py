custom_imports = dict(
    allow_failed_imports=False,
    imports=[
        'mmpd',
    ],
)
default_scope = 'mmdet'
model = dict(
    backbone=dict(
        init_cfg=dict(checkpoint='package://efficientnet_lite0', type='Pretrained'),
        model_name='tf_efficientnet_lite0',
        type='TimmBackbone',
    ),
    bbox_head=dict(
        anchor_generator=dict(
            octave_base_scale=8,
            ratios=[
                1.0,
            ],
            scales_per_octave=1,
            strides=[
                4,
                8,
                16,
                32,
                64,
            ],
            type='AnchorGenerator',
        ),
        feat_channels=64,
        in_channels=64,
        loss_bbox=dict(loss_weight=2.0, type='GIoULoss'),
        loss_cls=dict(beta=2.0, loss_weight=1.0, type='QualityFocalLoss', use_sigmoid=True),
        loss_dfl=dict(loss_weight=0.25, type='DistributionFocalLoss'),
        num_classes=20,
        reg_max=16,
        stacked_convs=2,
        type='GFLHead',
    ),
    data_preprocessor=dict(
        bgr_to_rgb=True,
        mean=[
            127.0,
            127.0,
            127.0,
        ],
        pad_size_divisor=32,
        std=[
            128.0,
            128.0,
            128.0,
        ],
        type='DetDataPreprocessor',
    ),
    neck=dict(
        add_extra_convs='on_output',
        in_channels=[
            24,
            40,
            112,
            320,
        ],
        num_outs=5,
        out_channels=64,
        start_level=0,
        type='FPN',
    ),
    test_cfg=dict(
        max_per_img=100, min_bbox_size=0, nms=dict(iou_threshold=0.6, type='nms'), nms_pre=1000, score_thr=0.05
    ),
    train_cfg=dict(allowed_border=-1, assigner=dict(topk=9, type='ATSSAssigner'), debug=False, pos_weight=-1),
    type='GFL',
)
test_cfg = dict(type='TestLoop')
test_dataloader = dict(
    batch_size=1,
    dataset=dict(
        ann_file='VOC2007/ImageSets/Main/test.txt',
        data_prefix=dict(sub_data_root='VOC2007/'),
        data_root='data/VOCdevkit/',
        pipeline=[
            dict(type='LoadImageFromFile'),
            dict(
                keep_ratio=True,
                scale=(
                    80,
                    80,
                ),
                type='Resize',
            ),
            dict(type='LoadAnnotations', with_bbox=True),
            dict(
                meta_keys=[
                    'img_id',
                    'img_path',
                    'ori_shape',
                    'img_shape',
                    'scale_factor',
                ],
                type='PackDetInputs',
            ),
        ],
        test_mode=True,
        type='VOCDataset',
    ),
    num_workers=2,
    sampler=dict(shuffle=False, type='DefaultSampler'),
)
test_evaluator = dict(eval_mode='area', metric='mAP', type='VOCMetric')
