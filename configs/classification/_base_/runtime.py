# What every classification chain shares: the task, the reduction of the method's code (bilinear, no antialias; compare
# reduction = 'area'), its optimiser and step schedule, and the networks.
_base_ = ['../../_base_/runtime.py']  # logs, seed

custom_imports = dict(imports=['mmpd.cls.register'], allow_failed_imports=False)
task = 'classification'
student_pyramid = 'cheap'  # classifiers have no pyramid that could start finer
reduction = 'bilinear'
pretrained = True  # ImageNet weights, fetched; False trains from scratch

schedule = dict(max_epochs=120, milestones=[30, 60, 90], warmup_iters=0, val_interval=5)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.01, momentum=0.9, weight_decay=5e-4))
