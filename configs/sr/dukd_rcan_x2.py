# DUKD at the paper's sizes: RCAN 10 groups of 20 blocks → 10 of 6, ×2.
_base_ = ['_base_/div2k.py', '_base_/rcan.py', '_base_/runtime.py']

ratio = 2
data = dict(hr_scale=(96, 96))
