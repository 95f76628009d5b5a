# YOLO text and data.yaml, as Ultralytics and Roboflow export them. Class names and folders are those of the data.yaml.
data_root = '{{$MMPD_DATA_ROOT:data/yolo}}/'
common = dict(type='PDYOLODataset', data_root=data_root, ann_file='data.yaml')
data = dict(
    train=dict(split='train', filter_cfg=dict(filter_empty_gt=True), **common),
    val=dict(split='val', **common),
    test=dict(split='test', **common),
    hr_scale=(640, 640),
    augment=[dict(type='RandomFlip', prob=0.5)],
    batch_size=8,
    num_workers=2,
)
del common
