# Objects of VOC2007 as 96-pixel images, made by tools/voc_to_crops.py: 20 classes, 3 in 8 are persons. HR 64.
data_root = '{{$MMPD_CROPS_ROOT:data/voc-crops}}'
data = dict(
    train=dict(
        type='mmdet.SeededDataset', dataset=dict(type='CustomDataset', data_root=data_root, data_prefix='train')
    ),
    val=dict(type='CustomDataset', data_root=data_root, data_prefix='val'),
    test=dict(type='CustomDataset', data_root=data_root, data_prefix='test'),
    num_classes=20,
    hr_scale=(64, 64),
    augment=[
        dict(
            type='RandomResizedCrop',
            scale=(64, 64),
            crop_ratio_range=(0.4, 1.0),
            backend='pillow',
            interpolation='bilinear',
        ),
        dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    ],
    crop=1.0,  # the crops have their context already
    batch_size=64,
    num_workers=2,
)
del data_root
