# From a vision transformer to a CNN: ViT-Tiny@224 → ResNet18@224 → ResNet18@112 on CUB-200-2011.
_base_ = ['pd_cub_r50_r18_112.py']

stages = dict(teacher=_base_.vit_tiny)
