# Some classes of ImageNet-1k: <root>/train/<wnid>/*.JPEG, <root>/val/<wnid>/*.JPEG, and a text file with one wnid a
# line (ImageNet-100: 100 lines). HR 224. Its val is the test set; the last epoch is taken.
data_root = '{{$MMPD_IMAGENET_ROOT:data/imagenet}}'
classes = '{{$MMPD_IMAGENET_CLASSES:<root>/classes.txt}}'.replace('<root>', data_root)
listed = dict(type='mmdet.ClassFolders', data_root=data_root, classes=classes)
data = dict(
    train=dict(type='mmdet.SeededDataset', dataset=dict(data_prefix='train', **listed)),
    val=dict(data_prefix='val', **listed),
    test=dict(data_prefix='val', **listed),
    hr_scale=(224, 224),
    batch_size=64,
    num_workers=4,
)
save_best = None
del data_root, classes, listed
