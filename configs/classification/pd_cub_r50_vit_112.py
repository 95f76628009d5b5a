# From a CNN to a vision transformer: ResNet50@224 → ViT-Tiny@224 → ViT-Tiny@112 on CUB-200-2011. ISRD reads the patch
# tokens with their position embedding; init_from brings the embedding from 14×14 to 7×7 patches.
_base_ = ['pd_cub_r50_r18_112.py']

stages = dict(assistant=_base_.vit_tiny, student=_base_.vit_tiny)
