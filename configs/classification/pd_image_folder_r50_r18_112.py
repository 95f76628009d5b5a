# ResNet50@224 → ResNet18@224 → ResNet18@112 on your own images in folders.
_base_ = ['_base_/image_folder.py', '_base_/r50_r18.py', '_base_/runtime.py']
