# COCO JSON: three annotation files and the folder that their file names start from. Class names are the file's.
# Crowd regions count as COCO counts them. Copy it where your folders have other names.
data_root = '{{$MMPD_DATA_ROOT:data/coco}}/'
common = dict(type='CocoDataset', data_root=data_root)
data = dict(
    train=dict(ann_file='annotations/train.json', data_prefix=dict(img='train/'), **common),
    val=dict(ann_file='annotations/val.json', data_prefix=dict(img='val/'), **common),
    test=dict(ann_file='annotations/test.json', data_prefix=dict(img='test/'), **common),
    hr_scale=(640, 640),
    augment=[dict(type='RandomFlip', prob=0.5)],
    batch_size=8,
    num_workers=2,
)
del common
