# A student of a quarter of the weights on 80×60 pixels, enlarged to a grid of 160×120: half as wide as its guide
# everywhere, so it starts from scratch, for twice as long. 0.85 M parameters, 0.17 G multiply-adds.
_base_ = ['pd_bccd.py']

ratio = 2
reduction = 'area+coarse:2'
stages = dict(
    student=dict(
        init_from=None,
        overrides=dict(
            backbone=dict(base_channels=16),
            neck=dict(in_channels=[16, 32, 64, 128], out_channels=32),
            bbox_head=dict(in_channels=32, feat_channels=32),
        ),
        schedule=dict(max_epochs=40),
    )
)
