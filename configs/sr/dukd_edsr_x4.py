# DUKD at the paper's sizes: EDSR 256 channels / 32 blocks → 64 / 32, ×4.
_base_ = ['_base_/div2k.py', '_base_/edsr.py', '_base_/runtime.py']

ratio = 4
data = dict(hr_scale=(192, 192))
