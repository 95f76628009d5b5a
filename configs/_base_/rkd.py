# Resolution-aware knowledge distillation (RKD, docs/method.md) as terms of a stage: `terms = dict(**_base_.rkd)`.
# `resolution` is a response term and takes its place; a classifier has mmdet.ResolutionKDTerm there, in place of KD.
# The weights follow the gradients of a first step on BCCD; none was compared on val yet (docs/results.md).
rkd = dict(
    adversarial=dict(type='mmdet.AdversarialTerm', loss_weight=1.0),
    resolution=dict(type='mmdet.ResolutionTerm', loss_weight=1.0),
    pairwise=dict(type='mmdet.PairwiseTerm', loss_weight=10.0),
    mmd=dict(type='mmdet.MMDTerm', loss_weight=5.0),
)
