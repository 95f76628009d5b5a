# One-stage distillation, the control of pd_voc.py: the R50@HR teacher teaches the R18@LR student directly, without an
# assistant. Same terms, same schedule; `init_from='guide'` is off, R50 weights do not fit R18.
_base_ = ['pd_voc.py']

stages = dict(
    _delete_=True,
    teacher=_base_.stages.teacher,
    student=dict(
        detector='mmdet::retinanet/retinanet_r18_fpn_1x_coco.py', size='lr', guide='teacher', terms=_base_.terms
    ),
)
