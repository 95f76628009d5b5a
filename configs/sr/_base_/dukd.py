# The paper's training: Adam 1e-4, 250,000 steps, the rate halved (here every 50,000), averaged weights. L_rec : L_kd is
# 5 : 1, L_dukd weighs as much as L_kd (the last is ours). An epoch has 1,036 steps.
terms = dict(
    logits=dict(type='LogitsTerm', loss_weight=0.2),
    zoom_in=dict(type='ZoomInTerm', loss_weight=0.2),
    zoom_out=dict(type='ZoomOutTerm', loss_weight=0.2),
)
schedule = dict(max_epochs=241, warmup_iters=0, val_interval=5, milestones=[48, 96, 144, 193], gamma=0.5)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='Adam', lr=1e-4))
custom_hooks = [dict(type='EMAHook', momentum=0.001)]
