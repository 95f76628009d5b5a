# What every super-resolution chain shares: the task, the reduction of the field, logs.
_base_ = ['../../_base_/runtime.py']  # logs, seed

custom_imports = dict(imports=['mmpd.sr.register'], allow_failed_imports=False)
task = 'sr'
student_pyramid = 'cheap'  # there is no pyramid
reduction = 'bicubic'
pretrained = False
