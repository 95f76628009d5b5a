# Reference values of the paper's classification code: SGD 0.01, momentum 0.9, weight decay 5e-4, batch 64, 120 epochs.
schedule = dict(max_epochs=120, warmup_iters=0, val_interval=5)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=5e-4))
