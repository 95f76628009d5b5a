"""mmpd: Pixel Distillation (arXiv 2112.09532) for object detection, on mmdetection.

Importing it first puts the stand-in for mmcv's compiled operators in place (mmdet cannot be imported without them),
then registers everything of mmpd in mmdet's registries.
"""

from .compat import mmcv_ops

mmcv_ops.install()

from . import register  # noqa: E402  (registers on import; must come after the stand-in)

__version__ = '0.1.0'
