# DIV2K (train: the first 790 of its 800 images, the last ten for validation) or any folder of large images in its
# place; tests: Set5, Set14, B100. An epoch has 1,036 steps of 16 patches; HR patches are 48 LR pixels wide.
data_root = '{{$MMPD_SR_ROOT:data/sr}}'
div2k = dict(type='SRFolder', data_root='{{$MMPD_DIV2K_ROOT:data/sr/DIV2K_train_HR}}')
data = dict(
    train=dict(split=(0, 790), repeat=21, **div2k),
    val=dict(split=(790, 800), **div2k),
    test=dict(type='SRFolder', data_root=data_root, sets=('Set5', 'Set14', 'B100')),
    batch_size=16,
    val_batch_size=1,
    num_workers=4,
)
del data_root, div2k
