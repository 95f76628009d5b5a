# CUB-200-2011 as it is downloaded: images.txt, images/, image_class_labels.txt, train_test_split.txt. HR 224.
# It has no validation split: the last epoch is taken, not the best on test.
data_root = '{{$MMPD_CUB_ROOT:data/CUB_200_2011}}'
data = dict(
    train=dict(type='mmdet.SeededDataset', dataset=dict(type='CUB', data_root=data_root, split='train')),
    val=dict(type='CUB', data_root=data_root, split='test'),
    test=dict(type='CUB', data_root=data_root, split='test'),
    hr_scale=(224, 224),
    batch_size=64,
    num_workers=4,
)
save_best = None
del data_root
