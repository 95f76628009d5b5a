# Sized for a CPU: EDSR 32 channels / 8 blocks → 16 / 4, ×2, minutes a stage.
_base_ = ['_base_/bsd200.py', '_base_/runtime.py', '_base_/small.py']

ratio = 2
data = dict(hr_scale=(48, 48), batch_size=8)
