# PASCAL VOC: train on VOC2007 train (and VOC2012 trainval where it is there), choose on VOC2007 val, test on its test.
# mmdet's own voc0712.py validates on the test split and drops boxes under 32 pixels; neither is done here.
import os

data_root = os.environ.get('MMPD_VOC_ROOT', 'data/VOCdevkit') + '/'
voc2007 = dict(sub_data_root='VOC2007/')
train_sets = [
    dict(
        type='PDVOCDataset',
        data_root=data_root,
        ann_file='VOC2007/ImageSets/Main/train.txt',
        data_prefix=voc2007,
        filter_cfg=dict(filter_empty_gt=True),
    )
]
if os.path.isdir(data_root + 'VOC2012'):
    train_sets.append(
        dict(
            type='PDVOCDataset',
            data_root=data_root,
            ann_file='VOC2012/ImageSets/Main/trainval.txt',
            data_prefix=dict(sub_data_root='VOC2012/'),
            filter_cfg=dict(filter_empty_gt=True),
        )
    )
data = dict(
    train=dict(type='ConcatDataset', datasets=train_sets) if len(train_sets) > 1 else train_sets[0],
    val=dict(type='PDVOCDataset', data_root=data_root, ann_file='VOC2007/ImageSets/Main/val.txt', data_prefix=voc2007),
    test=dict(
        type='PDVOCDataset', data_root=data_root, ann_file='VOC2007/ImageSets/Main/test.txt', data_prefix=voc2007
    ),
    hr_scale=(1000, 600),
    augment=[dict(type='RandomFlip', prob=0.5)],
    batch_size=8,
    num_workers=2,
)
del os
