# Epochs, warm-up and optimiser of every stage; a stage's own `schedule` and `runner` merge over it.
schedule = dict(max_epochs=24, warmup_iters=500, val_interval=2)
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=1e-4),
    clip_grad=dict(max_norm=35, norm_type=2),
)
