# ResNet50@224 → ResNet18@224 → ResNet18@112 on some classes of ImageNet.
_base_ = ['_base_/imagenet_subset.py', '_base_/r50_r18.py', '_base_/runtime.py']
