# PASCAL VOC 2007: train on train, choose on val, test on test. With VOC2012 as well: voc0712.py, in this one's place.
# mmdet's own voc0712.py validates on the test split and drops boxes under 32 pixels; neither is done here.
data_root = '{{$MMPD_VOC_ROOT:data/VOCdevkit}}/'
voc2007 = dict(sub_data_root='VOC2007/')
data = dict(
    train=dict(
        type='PDVOCDataset',
        data_root=data_root,
        ann_file='VOC2007/ImageSets/Main/train.txt',
        data_prefix=voc2007,
        filter_cfg=dict(filter_empty_gt=True),
    ),
    val=dict(type='PDVOCDataset', data_root=data_root, ann_file='VOC2007/ImageSets/Main/val.txt', data_prefix=voc2007),
    test=dict(
        type='PDVOCDataset', data_root=data_root, ann_file='VOC2007/ImageSets/Main/test.txt', data_prefix=voc2007
    ),
    hr_scale=(1000, 600),
    augment=[dict(type='RandomFlip', prob=0.5)],
    batch_size=8,
    batch_by_shape=True,  # a sixth of all pixels was padding between wide and upright images
    num_workers=2,
)
