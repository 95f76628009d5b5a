# Any folder of images trains; here BSD200, its last ten images for validation. Tests: Set5, Set14, B100.
data_root = '{{$MMPD_SR_ROOT:data/sr}}'
bsd200 = dict(type='SRFolder', data_root=data_root + '/BSD200')
data = dict(
    train=dict(split=(0, 190), repeat=16, **bsd200),
    val=dict(split=(190, 200), **bsd200),
    test=dict(type='SRFolder', data_root=data_root, sets=('Set5', 'Set14', 'B100')),
    hr_scale=(96, 96),
    batch_size=16,
    val_batch_size=1,
    num_workers=2,
)
del data_root, bsd200
