# DUKD at the paper's sizes: RCAN 10 groups of 20 blocks → 10 of 6, ×4.
_base_ = ['_base_/div2k.py', '_base_/rcan.py', '_base_/runtime.py']

ratio = 4
data = dict(hr_scale=(192, 192))
