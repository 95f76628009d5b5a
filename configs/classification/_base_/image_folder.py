# Any images in folders: <root>/{train,val,test}/<class>/*.jpg, the same class folders in each split, empty ones too.
# HR 224.
data_root = '{{$MMPD_IMAGES_ROOT:data/images}}'
data = dict(
    train=dict(
        type='mmdet.SeededDataset', dataset=dict(type='CustomDataset', data_root=data_root, data_prefix='train')
    ),
    val=dict(type='CustomDataset', data_root=data_root, data_prefix='val'),
    test=dict(type='CustomDataset', data_root=data_root, data_prefix='test'),
    hr_scale=(224, 224),
    batch_size=64,
    num_workers=4,
)
del data_root
