# CNN → vision transformer on the VOC crops, 64 → 16 pixels, with its controls: half-width ResNet18@64 → ViT@64 →
# ViT@16. ISRD reads the patch tokens with their position embedding, which init_from brings from 8×8 patches to 2×2.
_base_ = ['pd_voc_crops.py', '_base_/vit_crops.py']

ratio = 4
kd = dict(type='mmdet.KDTerm', alpha=0.9, temperature=4.0)
isrd = dict(type='mmdet.ISRDTerm', loss_weight=0.1)
common = dict(**_base_.vit, runner=_base_.vit_runner)
lr = dict(**common, size='lr', init_from='assistant')
stages = dict(
    _delete_=True,
    teacher=dict(detector=_base_.resnet18, overrides=_base_.half, size='hr'),
    assistant=dict(**common, size='hr', guide='teacher', terms=dict(kd=kd), schedule=dict(max_epochs=24)),
    lr_plain=dict(**common, size='lr', schedule=dict(max_epochs=32)),
    lr_init=dict(**lr),
    lr_kd=dict(**lr, guide='assistant', terms=dict(kd=kd)),
    student=dict(**lr, guide='assistant', terms=dict(kd=kd, isrd=isrd)),
)
