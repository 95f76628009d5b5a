# RKD on natural images, on the chain of pd_voc_lite.py: its student has RKD's terms in place of the default ones, but
# for the adversarial one, which cost BCCD's student an AP (docs/results.md).
_base_ = ['pd_voc_lite.py', '_base_/rkd.py']

terms = {part: term for part, term in _base_.rkd.items() if part != 'adversarial'}
stages = dict(student=dict(terms=dict(_delete_=True, **terms)))
