# A vision transformer for 64-pixel crops on a CPU: ViT-tiny at half width and depth, patches of 8: 8×8 at HR, 2×2 at 16
# pixels. Transformers want AdamW; a stage takes it as `runner=vit_runner`.
vit = dict(
    detector='mmpretrain::deit/deit-tiny_4xb256_in1k.py',
    overrides=dict(
        backbone=dict(
            arch=dict(_delete_=True, embed_dims=96, num_layers=6, num_heads=3, feedforward_channels=384),
            patch_size=8,
        ),
        head=dict(
            in_channels=96,
            loss=dict(_delete_=True, type='CrossEntropyLoss', loss_weight=1.0),
        ),
        train_cfg=None,
    ),
)
vit_runner = dict(
    optim_wrapper=dict(_delete_=True, type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05))
)
