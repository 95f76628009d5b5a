# FGVC-Aircraft (100 variants) as it is downloaded: data/images, data/images_variant_*.txt. HR 224.
# Trained on trainval, so nothing is left to choose on: the last epoch is taken, not the best on test.
data_root = '{{$MMPD_AIRCRAFT_ROOT:data/fgvc-aircraft-2013b}}'
data = dict(
    train=dict(type='mmdet.SeededDataset', dataset=dict(type='FGVCAircraft', data_root=data_root, split='trainval')),
    val=dict(type='FGVCAircraft', data_root=data_root, split='test'),
    test=dict(type='FGVCAircraft', data_root=data_root, split='test'),
    hr_scale=(224, 224),
    batch_size=64,
    num_workers=4,
)
save_best = None
del data_root
