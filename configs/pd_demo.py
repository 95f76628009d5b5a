# The demo (`make demo`): small RetinaNets on the drawn set of mmpd/demo/draw.py, HR 256×192 → LR 64×48.
# In minutes a larger teacher gets no better than a small one, so the teacher has the assistant's size here.
# `plain` is the control: the student's network, size, starting weights and epochs, and no guide.
_base_ = ['_base_/runtime.py']

ratio = 4
student_pyramid = 'fine'
pretrained = False
save_best = 'pd/AP'
guide_cache = 1024  # MiB: flips are the only augmentation, so the guide's outputs come back
schedule = dict(max_epochs=7, warmup_iters=120, val_interval=7)
optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(type='AdamW', lr=2e-3, weight_decay=0.05, fused=True),
    clip_grad=dict(max_norm=10, norm_type=2),
)

demo_set = dict(seed=0, n_train=240, n_val=40, n_test=100, size=(256, 192))  # arguments of draw_demo_set
data_root = '{{$MMPD_DEMO_ROOT:work_dirs/demo/data}}/'
common = dict(type='PDVOCDataset', data_root=data_root, metainfo=dict(classes=('red', 'infected', 'white', 'platelet')))
data = dict(
    train=dict(ann_file='ImageSets/Main/train.txt', **common),
    val=dict(ann_file='ImageSets/Main/val.txt', **common),
    test=dict(ann_file='ImageSets/Main/test.txt', **common),
    hr_scale=(256, 192),
    augment=[dict(type='RandomFlip', prob=0.5)],
    batch_size=2,
    num_workers=0,
)
custom_imports = dict(imports=['mmpd.run.progress'], allow_failed_imports=False)
custom_hooks = [dict(type='ProgressHook')]

resnet18 = 'mmdet::retinanet/retinanet_r18_fpn_1x_coco.py'
# Platelets are 7 to 11 HR pixels wide, cells 18 to 48. The guide's finest stride is 8 HR pixels, the student's 16: four
# anchor sizes from 0.75 strides up keep the small ones on the finest level of both. GroupNorm in the head, a looser
# match and two images a step make so short a training from scratch learn faster.
head = dict(
    stacked_convs=2,
    norm_cfg=dict(type='GN', num_groups=8),
    anchor_generator=dict(octave_base_scale=None, scales_per_octave=None, scales=[0.75, 1.06, 1.5, 2.1], ratios=[1.0]),
)
train_cfg = dict(assigner=dict(pos_iou_thr=0.4, neg_iou_thr=0.3))
small = dict(
    backbone=dict(base_channels=16),
    neck=dict(in_channels=[16, 32, 64, 128], out_channels=32),
    bbox_head=dict(in_channels=32, feat_channels=32, **head),
    train_cfg=train_cfg,
)
# Chosen on val, one seed: docs/results.md.
terms = dict(
    feature=dict(type='FeatureTerm', loss_weight=4.0),
    response=dict(type='ResponseTerm', loss_weight=1.0),
    isrd=dict(type='ISRDTerm', loss_weight=0.1),
)
stages = dict(
    teacher=dict(detector=resnet18, overrides=small, size='hr'),
    assistant=dict(detector=resnet18, overrides=small, size='hr', guide='teacher', init_from='guide', terms=terms),
    plain=dict(detector=resnet18, overrides=small, size='lr', init_from='assistant'),
    student=dict(detector=resnet18, overrides=small, size='lr', guide='assistant', init_from='guide', terms=terms),
)
del common, train_cfg
