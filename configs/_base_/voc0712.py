# PASCAL VOC: train on VOC2007 train and VOC2012 trainval, choose on VOC2007 val, test on its test.
_base_ = 'voc.py'

data = dict(
    train=dict(
        _delete_=True,
        type='ConcatDataset',
        datasets=[
            {{_base_.data.train}},
            dict(
                type='PDVOCDataset',
                data_root='{{$MMPD_VOC_ROOT:data/VOCdevkit}}/',
                ann_file='VOC2012/ImageSets/Main/trainval.txt',
                data_prefix=dict(sub_data_root='VOC2012/'),
                filter_cfg=dict(filter_empty_gt=True),
            ),
        ],
    )
)
