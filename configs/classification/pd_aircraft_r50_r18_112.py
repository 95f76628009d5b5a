# ResNet50@224 → ResNet18@224 → ResNet18@112 on FGVC-Aircraft, where ISRD weighs 20.
_base_ = ['_base_/aircraft.py', '_base_/r50_r18.py', '_base_/runtime.py']

stages = dict(student=dict(terms=dict(isrd=dict(loss_weight=20.0))))
