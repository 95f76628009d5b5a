# DUKD at the paper's sizes: EDSR 256 channels / 32 blocks → 64 / 32, ×2.
_base_ = ['_base_/div2k.py', '_base_/edsr.py', '_base_/runtime.py']

ratio = 2
data = dict(hr_scale=(96, 96))
