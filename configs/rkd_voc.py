# RKD on natural images, on the chain of pd_voc_lite.py: its student has RKD's terms in place of the default ones.
_base_ = ['pd_voc_lite.py', '_base_/rkd.py']

stages = dict(student=dict(terms=dict(_delete_=True, **_base_.rkd)))
