# From a CNN to a vision transformer: ResNet50@224 → ViT-Tiny@224 → ViT-Tiny@112 on CUB-200-2011. ISRD reads the patch
# tokens with their position embedding; init_from brings the embedding from 14×14 to 7×7 patches.
_base_ = ['_base_/cub.py', '_base_/networks.py', '_base_/runtime.py']

ratio = 2
kd = dict(type='mmdet.KDTerm', alpha=0.9, temperature=4.0)
stages = dict(
    teacher=dict(**_base_.resnet50, size='hr'),
    assistant=dict(**_base_.vit_tiny, size='hr', guide='teacher', terms=dict(kd=kd)),
    student=dict(
        **_base_.vit_tiny,
        size='lr',
        guide='assistant',
        init_from='guide',
        terms=dict(kd=kd, isrd=dict(type='mmdet.ISRDTerm', loss_weight=10.0)),
    ),
)
