# pd_voc_lite.py at ratio 4, 80 pixels: the student learns from crops that both networks see, for 16 epochs. The guide
# runs on each new crop, so nothing comes back from a cache.
_base_ = ['pd_voc_lite.py']

ratio = 4
student_pyramid = 'fine'
guide_cache = 0
crop = dict(type='RandomCrop', crop_type='relative_range', crop_size=(0.4, 0.4), allow_negative_crop=False)
stages = dict(
    student=dict(
        augment=[dict(type='RandomApply', prob=0.5, transforms=[crop]), _base_.to_320, _base_.flip],
        schedule=dict(max_epochs=16, val_interval=4),
    )
)
