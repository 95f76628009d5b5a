# Whether distillation pays on the VOC crops: the chain of pd_voc_crops.py and its controls, on the same data.
# tools/train.py configs/classification/ablation_voc_crops.py --runs 3 --cfg-options ratio=4
# The plain networks train for 32 epochs, no better than 24 (docs/results.md); `lr_init` is the student without a guide.
_base_ = ['pd_voc_crops.py']

common = dict(detector=_base_.resnet18, overrides=_base_.quarter)
long = dict(max_epochs=32)
start = dict(**common, size='lr', init_from='assistant')
isrd = dict(type='mmdet.ISRDTerm', loss_weight=0.1)
stages = dict(
    hr_plain=dict(**common, size='hr', schedule=long),
    lr_plain=dict(**common, size='lr', schedule=long),
    lr_init=dict(**start),
    lr_kd=dict(**start, guide='assistant', terms=dict(kd=_base_.kd)),
    lr_isrd=dict(**start, guide='assistant', terms=dict(isrd=isrd)),
)
