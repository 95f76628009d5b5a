# Sized for a CPU: half-width ResNet18@64 → quarter-width ResNet18@64 → the same @32 on the VOC crops, from scratch.
# `--cfg-options ratio=4` makes the student see 16×16 pixels.
_base_ = ['_base_/voc_crops.py', '_base_/networks.py', '_base_/runtime.py']

ratio = 2
pretrained = False
schedule = dict(max_epochs=16, milestones=None, warmup_iters=50, val_interval=4)  # cosine
optim_wrapper = dict(optimizer=dict(lr=0.05))

resnet18 = 'mmpretrain::resnet/resnet18_8xb32_in1k.py'
half = dict(backbone=dict(stem_channels=32, base_channels=32), head=dict(in_channels=256))
quarter = dict(backbone=dict(stem_channels=16, base_channels=16), head=dict(in_channels=128))
kd = dict(type='mmdet.KDTerm', alpha=0.9, temperature=4.0)
stages = dict(
    teacher=dict(detector=resnet18, overrides=half, size='hr'),
    assistant_kd=dict(detector=resnet18, overrides=quarter, size='hr', guide='teacher', terms=dict(kd=kd)),
    # The teacher brings the assistant to its own level; it must be better than its student, so it goes on alone.
    assistant=dict(
        detector=resnet18, overrides=quarter, size='hr', init_from='assistant_kd', schedule=dict(max_epochs=24)
    ),
    student=dict(
        detector=resnet18,
        overrides=quarter,
        size='lr',
        guide='assistant',
        init_from='guide',
        terms=dict(kd=kd, isrd=dict(type='mmdet.ISRDTerm', loss_weight=0.1)),  # 1 and 10 cost accuracy: docs/results.md
    ),
)
