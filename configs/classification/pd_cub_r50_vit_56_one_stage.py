# One stage, the control of pd_cub_r50_vit_56.py: ResNet50@224 teaches ViT-Tiny@56 directly.
_base_ = ['_base_/cub.py', '_base_/networks.py', '_base_/runtime.py']

ratio = 4
stages = dict(
    teacher=dict(**_base_.resnet50, size='hr'),
    student=dict(
        **_base_.vit_tiny,
        size='lr',
        guide='teacher',
        terms=dict(
            kd=dict(type='mmdet.KDTerm', alpha=0.9, temperature=4.0),
            isrd=dict(type='mmdet.ISRDTerm', loss_weight=50.0),
        ),
    ),
)
