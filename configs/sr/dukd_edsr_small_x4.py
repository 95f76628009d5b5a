# Sized for a CPU: EDSR 32 channels / 8 blocks → 16 / 4, ×4, minutes a stage.
_base_ = ['_base_/bsd200.py', '_base_/runtime.py', '_base_/small.py']

ratio = 4
data = dict(hr_scale=(64, 64), batch_size=8)
