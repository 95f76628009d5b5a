# Networks, rows, terms and training of the CPU-sized chains. `dukd` has every part of DUKD; `student` is the distilled
# one, without zoom-out, which loses at this size: a reduced patch has 4 to 12 pixels a side (docs/results.md). The
# stages before it are its controls, the rows there. An epoch has 380 steps of 8 patches.
teacher = dict(type='SuperResolver', backbone=dict(type='EDSR', channels=32, blocks=8, bicubic_skip=True))
student = dict(type='SuperResolver', backbone=dict(type='EDSR', channels=16, blocks=4, bicubic_skip=True))
distilled = dict(detector=student, size='lr', guide='teacher')
logits = dict(type='LogitsTerm')
stages = dict(
    teacher=dict(
        detector=teacher,
        size='lr',
        schedule=dict(max_epochs=3),
        runner=dict(optim_wrapper=dict(optimizer=dict(lr=2e-3))),
    ),
    plain=dict(detector=student, size='lr'),
    logits=dict(**distilled, terms=dict(logits=logits)),
    zoom_in=dict(**distilled, terms=dict(logits=logits, zoom_in=dict(type='ZoomInTerm', consistency=0.0))),
    zoom_out=dict(**distilled, terms=dict(logits=logits, zoom_out=dict(type='ZoomOutTerm', consistency=0.0))),
    consistency=dict(**distilled, terms=dict(logits=logits, consistency=dict(type='ConsistencyTerm'))),
    affinity=dict(**distilled, terms=dict(logits=logits, affinity=dict(type='AffinityTerm'))),
    dukd=dict(
        **distilled,
        terms=dict(logits=logits, zoom_in=dict(type='ZoomInTerm'), zoom_out=dict(type='ZoomOutTerm')),
    ),
    student=dict(
        **distilled,
        terms=dict(logits=logits, zoom_in=dict(type='ZoomInTerm'), consistency=dict(type='ConsistencyTerm')),
    ),
)
schedule = dict(max_epochs=2, warmup_iters=0, val_interval=2)  # cosine
optim_wrapper = dict(type='BFloat16OptimWrapper', optimizer=dict(type='Adam', lr=4e-3))  # 1e-3 was 0.4 dB lower on val
del distilled, logits
