# RKD on BCCD at ratio 4: the chain of pd_bccd.py, whose student has RKD's terms in place of the default ones,
# but for the adversarial one, which cost it an AP. As it is: level with pd_bccd.py on val, 0.9 AP ahead on test (three
# seeds, docs/results.md).
# tools/ablate.py configs/pd_bccd.py --rows … has each part, alone and on top of the default terms.
_base_ = ['pd_bccd.py', '_base_/rkd.py']

ratio = 4
stages = dict(
    student=dict(
        terms=dict(
            _delete_=True,
            resolution=dict(type='mmdet.ResolutionTerm', loss_weight=8.0, aware=False),  # as pd_bccd.py's response
            **{part: term for part, term in _base_.rkd.items() if part in ('pairwise', 'mmd')},
        )
    )
)
