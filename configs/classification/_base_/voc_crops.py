# Objects of VOC2007 as images, made by tools/voc_to_crops.py: 20 classes, HR 64.
import os

data_root = os.environ.get('MMPD_CROPS_ROOT', 'data/voc-crops')
data = dict(
    train=dict(type='CustomDataset', data_root=data_root, data_prefix='train'),
    val=dict(type='CustomDataset', data_root=data_root, data_prefix='val'),
    test=dict(type='CustomDataset', data_root=data_root, data_prefix='test'),
    hr_size=64,
    batch_size=64,
    num_workers=2,
)
num_classes = 20
del os
