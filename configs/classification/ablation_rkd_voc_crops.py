# Each part of RKD on the VOC crops, alone and on top of the default student, beside ablation_voc_crops.py's rows.
# tools/train.py configs/classification/ablation_rkd_voc_crops.py --runs 3 --cfg-options ratio=4   (2; 8: 8 pixels)
_base_ = ['ablation_voc_crops.py', '../_base_/rkd.py']

ratio = 4
resolution = dict(type='mmdet.ResolutionKDTerm', alpha=0.9, temperature=4.0)
adversarial, pairwise, mmd = (_base_.rkd[part] for part in ('adversarial', 'pairwise', 'mmd'))
taught = dict(**_base_.start, guide='assistant')
default = dict(kd=_base_.kd, isrd=_base_.isrd)
crkd = dict(resolution=resolution, pairwise=pairwise, mmd=mmd)
stages = dict(
    lr_adversarial=dict(**taught, terms=dict(adversarial=adversarial)),
    lr_resolution=dict(**taught, terms=dict(resolution=resolution)),
    lr_pairwise=dict(**taught, terms=dict(pairwise=pairwise)),
    lr_mmd=dict(**taught, terms=dict(mmd=mmd)),
    lr_crkd=dict(**taught, terms=crkd),
    lr_rkd=dict(**taught, terms=dict(adversarial=adversarial, **crkd)),
    student_adversarial=dict(**taught, terms=dict(adversarial=adversarial, **default)),
    student_resolution=dict(**taught, terms=dict(resolution=resolution, isrd=_base_.isrd)),
    student_pairwise=dict(**taught, terms=dict(pairwise=pairwise, **default)),
    student_mmd=dict(**taught, terms=dict(mmd=mmd, **default)),
    student_rkd=dict(**taught, terms=dict(adversarial=adversarial, isrd=_base_.isrd, **crkd)),
)
