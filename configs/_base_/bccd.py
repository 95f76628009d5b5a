# BCCD blood cells (364 images 640×480, MIT): RBC, WBC, Platelets. HR is 320×240.
data_root = '{{$MMPD_BCCD_ROOT:data/BCCD}}/'
common = dict(type='PDVOCDataset', data_root=data_root, metainfo=dict(classes=('RBC', 'WBC', 'Platelets')))
data = dict(
    train=dict(ann_file='ImageSets/Main/train.txt', filter_cfg=dict(filter_empty_gt=True), **common),
    val=dict(ann_file='ImageSets/Main/val.txt', **common),
    test=dict(ann_file='ImageSets/Main/test.txt', **common),
    hr_scale=(320, 240),
    augment=[dict(type='RandomFlip', prob=[0.25, 0.25, 0.25], direction=['horizontal', 'vertical', 'diagonal'])],
    batch_size=4,
    val_batch_size=16,
    num_workers=2,
)
del common
