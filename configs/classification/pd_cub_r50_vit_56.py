# ResNet50@224 → ViT-Tiny@224 → ViT-Tiny@56 on CUB-200-2011: 3×3 patches, each rebuilt as 75×75 HR pixels by ISRD.
_base_ = ['pd_cub_r50_vit_112.py']

ratio = 4
stages = dict(student=dict(terms=dict(isrd=dict(loss_weight=50.0))))
