# The method's chain of CNNs: ResNet50@HR → ResNet18@HR → ResNet18@LR. L = 0.1·CE + 0.9·T²·KL + 10·ISRD.
_base_ = ['networks.py']

ratio = 2
kd = dict(type='mmdet.KDTerm', alpha=0.9, temperature=4.0)
stages = dict(
    teacher=dict(**_base_.resnet50, size='hr'),
    assistant=dict(**_base_.resnet18, size='hr', guide='teacher', terms=dict(kd=kd)),
    student=dict(
        **_base_.resnet18,
        size='lr',
        guide='assistant',
        init_from='guide',
        terms=dict(kd=kd, isrd=dict(type='mmdet.ISRDTerm', loss_weight=10.0)),
    ),
)
