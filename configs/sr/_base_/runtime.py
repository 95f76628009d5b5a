# What every super-resolution chain shares: the task, the reduction of the field, logs.
custom_imports = dict(imports=['mmpd.sr.register'], allow_failed_imports=False)
task = 'sr'
student_pyramid = 'cheap'  # there is no pyramid
reduction = 'bicubic'
pretrained = False

default_hooks = dict(
    timer=dict(type='IterTimerHook'),
    logger=dict(type='LoggerHook', interval=50),
    param_scheduler=dict(type='ParamSchedulerHook'),
    sampler_seed=dict(type='DistSamplerSeedHook'),
)
env_cfg = dict(cudnn_benchmark=False, mp_cfg=dict(mp_start_method='fork', opencv_num_threads=0))
randomness = dict(seed=0)
log_processor = dict(type='LogProcessor', window_size=50, by_epoch=True)
log_level = 'INFO'
