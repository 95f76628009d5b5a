# RCAN 10 groups of 20 blocks → 10 of 6.
_base_ = ['dukd.py']

stages = dict(
    teacher=dict(
        detector=dict(type='SuperResolver', backbone=dict(type='RCAN', groups=10, blocks=20)),
        size='lr',
    ),
    student=dict(
        detector=dict(type='SuperResolver', backbone=dict(type='RCAN', groups=10, blocks=6)),
        size='lr',
        guide='teacher',
        terms=_base_.terms,
    ),
)
