# The method on CUB-200-2011: ResNet50@224 → ResNet18@224 → ResNet18@112.
_base_ = ['_base_/cub.py', '_base_/r50_r18.py', '_base_/runtime.py']
