"""mmpd: Pixel Distillation (arXiv 2112.09532) for object detection, on mmdetection.

`import mmpd` makes mmdet usable and is light: the stand-in for mmcv's compiled operators (mmdet cannot be imported
without them) and mmpd's entries in mmdet's registries come when mmcv and mmdet are imported, not before.
"""

from .compat import mmcv_ops, registration

mmcv_ops.install()
registration.install()

__version__ = '0.1.0'
