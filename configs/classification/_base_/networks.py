# Classifiers of mmpretrain, as a stage takes them: `stages = dict(teacher=dict(**resnet50, size='hr'), …)`.
def torchvision(name):
    return dict(backbone=dict(init_cfg=dict(type='Pretrained', checkpoint=f'torchvision://{name}')))


resnet50 = dict(detector='mmpretrain::resnet/resnet50_8xb32_in1k.py', overrides=torchvision('resnet50'))
resnet18 = dict(detector='mmpretrain::resnet/resnet18_8xb32_in1k.py', overrides=torchvision('resnet18'))
# Patches that do not fit are left off, as in the method's code: 56 pixels are 3×3 patches of 16; mmpretrain would pad
# to 4×4. Mixup and CutMix would change one size of a pair and not the other.
vit_tiny = dict(
    detector='mmpretrain::deit/deit-tiny_4xb256_in1k.py',
    overrides=dict(
        backbone=dict(
            patch_cfg=dict(padding=0),
            init_cfg=dict(
                type='Pretrained',
                checkpoint='https://mmassets.onedl.ai/mmclassification/v0/deit/'
                'deit-tiny_pt-4xb256_in1k_20220218-13b382a0.pth',
                prefix='backbone',
            ),
        ),
        head=dict(loss=dict(_delete_=True, type='CrossEntropyLoss', loss_weight=1.0)),
        train_cfg=None,
    ),
)
del torchvision
