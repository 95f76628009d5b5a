# One-stage distillation, the control of pd_voc.py: the R50@HR teacher teaches the R18@LR student directly, without an
# assistant. Same terms, same schedule; `init_from='guide'` is off, R50 weights do not fit R18.
_base_ = ['_base_/voc.py', '_base_/schedule.py', '_base_/runtime.py']

ratio = 2
student_pyramid = 'fine'
reduction = 'area'
pretrained = True

terms = dict(
    feature=dict(type='FeatureTerm', loss_weight=1.0),
    response=dict(type='ResponseTerm', loss_weight=1.0),
    isrd=dict(type='ISRDTerm', loss_weight=0.1),
)
stages = dict(
    teacher=dict(detector='mmdet::retinanet/retinanet_r50_fpn_1x_coco.py', size='hr'),
    student=dict(detector='mmdet::retinanet/retinanet_r18_fpn_1x_coco.py', size='lr', guide='teacher', terms=terms),
)
