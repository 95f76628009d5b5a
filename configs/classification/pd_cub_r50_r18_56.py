# ResNet50@224 → ResNet18@224 → ResNet18@56 on CUB-200-2011: a sixteenth of the pixels, ISRD weighs 50.
_base_ = ['pd_cub_r50_r18_112.py']

ratio = 4
stages = dict(student=dict(terms=dict(isrd=dict(loss_weight=50.0))))
