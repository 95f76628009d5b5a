# Resolution-aware knowledge distillation (RKD, docs/method.md) as terms of a stage: `terms = dict(**_base_.rkd)`.
# `resolution` is a response term and takes its place; a classifier has mmdet.ResolutionKDTerm there, in place of KD.
# The weights follow the gradients of a first step on BCCD. With `aware=True` locations count by what resolution costs
# the guide there: RKD's own weighting. It lost 1.3 AP on BCCD (one seed) and runs the guide twice (docs/results.md).
rkd = dict(
    adversarial=dict(type='mmdet.AdversarialTerm', loss_weight=1.0),
    resolution=dict(type='mmdet.ResolutionTerm', loss_weight=1.0, aware=False),
    pairwise=dict(type='mmdet.PairwiseTerm', loss_weight=10.0),
    mmd=dict(type='mmdet.MMDTerm', loss_weight=5.0),
)
