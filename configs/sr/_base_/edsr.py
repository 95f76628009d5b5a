# EDSR 256 channels / 32 blocks → 64 / 32.
_base_ = ['dukd.py']

stages = dict(
    teacher=dict(
        detector=dict(type='SuperResolver', backbone=dict(type='EDSR', channels=256, blocks=32, res_scale=0.1)),
        size='lr',
    ),
    student=dict(
        detector=dict(type='SuperResolver', backbone=dict(type='EDSR', channels=64, blocks=32)),
        size='lr',
        guide='teacher',
        terms=_base_.terms,
    ),
)
