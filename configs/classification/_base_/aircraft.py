# FGVC-Aircraft (100 variants) as it is downloaded: data/images, data/images_variant_*.txt. HR 224.
import os

data_root = os.environ.get('MMPD_AIRCRAFT_ROOT', 'data/fgvc-aircraft-2013b')
data = dict(
    train=dict(type='FGVCAircraft', data_root=data_root, split='trainval'),
    val=dict(type='FGVCAircraft', data_root=data_root, split='test'),
    test=dict(type='FGVCAircraft', data_root=data_root, split='test'),
    hr_size=224,
    batch_size=64,
    num_workers=4,
)
num_classes = 100
del os
