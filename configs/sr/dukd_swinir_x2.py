# DUKD at the paper's sizes: SwinIR 180 channels, 6 groups of 6 layers → 60 channels, 4 of 6, ×2.
_base_ = ['_base_/div2k.py', '_base_/swinir.py', '_base_/runtime.py']

ratio = 2
data = dict(hr_scale=(96, 96))
