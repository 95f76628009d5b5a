# RKD on the VOC crops, 64 → 16 pixels: the chain of pd_voc_crops.py, whose student has RKD's terms in place of the
# default ones. `--cfg-options ratio=8` makes it 8 pixels. `aware=False`: RKD's own weighting lost 3.4 points of
# top-1 on test and 4.7 on val (three seeds, docs/results.md).
_base_ = ['pd_voc_crops.py', '../_base_/rkd.py']

ratio = 4
stages = dict(
    student=dict(
        terms=dict(
            _delete_=True,
            resolution=dict(type='mmdet.ResolutionKDTerm', alpha=0.9, temperature=4.0, aware=False),
            **{part: term for part, term in _base_.rkd.items() if part != 'resolution'},
        )
    )
)
