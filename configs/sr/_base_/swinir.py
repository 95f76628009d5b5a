# SwinIR 180 channels, 6 groups of 6 layers → 60 channels, 4 of 6.
_base_ = ['dukd.py']

stages = dict(
    teacher=dict(
        detector=dict(type='SuperResolver', backbone=dict(type='SwinIR', channels=180, depths=(6, 6, 6, 6, 6, 6))),
        size='lr',
    ),
    student=dict(
        detector=dict(type='SuperResolver', backbone=dict(type='SwinIR', channels=60, depths=(6, 6, 6, 6))),
        size='lr',
        guide='teacher',
        terms=_base_.terms,
    ),
)
