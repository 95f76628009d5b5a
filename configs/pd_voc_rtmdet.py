# RTMDet m@HR → tiny@HR → tiny@LR on PASCAL VOC: another neck, head norms of their own per level, a dynamic assigner.
# Its neck has no start_level, so the pyramid cannot start finer: `cheap`, the window moves by one level at ratio 2.
# mmdet's PipelineSwitchHook is left out: it would swap in an unpaired pipeline. Mosaic and MixUp are left out as well.
_base_ = ['pd_voc.py']

student_pyramid = 'cheap'

# The file trains on fixed 640×640 images; here batches have any size, and the neck needs multiples of its last stride.
padded = dict(data_preprocessor=dict(pad_size_divisor=32))
tiny = 'mmdet::rtmdet/rtmdet_tiny_8xb32-300e_coco.py'
stages = dict(  # guides, sizes and terms are those of pd_voc.py
    teacher=dict(detector='mmdet::rtmdet/rtmdet_m_8xb32-300e_coco.py', overrides=padded),
    assistant=dict(detector=tiny, overrides=padded),
    student=dict(detector=tiny, overrides=padded),
)

optim_wrapper = dict(
    _delete_=True,
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=0.0005, weight_decay=0.05),
    paramwise_cfg=dict(norm_decay_mult=0, bias_decay_mult=0, bypass_duplicate=True),
    clip_grad=dict(max_norm=35, norm_type=2),
)
# The averaged copy holds the student and the terms; the guide is shared, not copied.
custom_hooks = [
    dict(type='EMAHook', ema_type='ExpMomentumEMA', momentum=0.0002, update_buffers=True, priority=49),
]
