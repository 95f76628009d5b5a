# pd_voc.py on images whose longest side is 320: R50@320 → R18@320 → R18@160, from scratch, 64-channel heads.
_base_ = ['pd_voc.py']

pretrained = False
data = dict(hr_scale=(320, 320), batch_size=8)
schedule = dict(max_epochs=60, val_interval=5)
optim_wrapper = dict(
    _delete_=True,
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=1e-3, weight_decay=0.05, fused=True),
    clip_grad=dict(max_norm=10, norm_type=2),
)
guide_cache = 8192
heads = dict(neck=dict(out_channels=64), bbox_head=dict(in_channels=64, feat_channels=64))
stages = dict(teacher=dict(overrides=heads), assistant=dict(overrides=heads), student=dict(overrides=heads))
del heads
