"""Package metadata: the ranges that mmpd accepts. requirements*.txt pin what CI runs.

The mm* libraries exist as two distributions with the same import names, so neither is in `install_requires`:
choose one, `pip install -e .[onedl]` (maintained) or `pip install -e .[upstream]` (OpenMMLab's own).
"""

from pathlib import Path

from setuptools import find_packages, setup

ONEDL = ['onedl-mmengine>=0.10.10', 'onedl-mmcv>=2.3', 'onedl-mmdetection>=3.5']
UPSTREAM = ['mmengine>=0.10.5,<1', 'mmcv-lite>=2.0.1,<2.2', 'mmdet>=3.3,<4']

setup(
    name='mmpd',
    version='0.1.0',
    description='Pixel Distillation for object detection on mmdetection: accurate detectors on low-resolution images',
    long_description=Path(__file__).with_name('README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    packages=find_packages(include=['mmpd', 'mmpd.*']),
    python_requires='>=3.10',
    install_requires=[
        'torch>=2.7',
        'torchvision>=0.22',
        'numpy<2.3',
        'opencv-python-headless>=4.8',
        'pycocotools>=2.0.7',
        'defusedxml>=0.7',
        'rich>=13',
        'matplotlib>=3.7',
    ],
    extras_require={
        'onedl': ONEDL,
        'upstream': UPSTREAM,
        'cls': ['onedl-mmpretrain>=1.3'],
        'cls-upstream': ['mmpretrain>=1.2,<2'],
        'export': ['onnx>=1.16', 'onnxslim>=0.1.50', 'onnxruntime>=1.18'],
        'sr': ['spandrel>=0.4,<0.5'],  # RCAN and SwinIR; EDSR needs nothing
        'dev': ['pytest>=8', 'hypothesis>=6', 'ruff>=0.14', 'mypy>=1.15'],
    },
)
