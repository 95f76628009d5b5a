# One stage, the control of pd_cub_r50_vit_56.py: ResNet50@224 teaches ViT-Tiny@56 directly.
_base_ = ['pd_cub_r50_r18_56_one_stage.py']

stages = dict(student=_base_.vit_tiny)
