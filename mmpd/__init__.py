"""mmpd: Pixel Distillation (arXiv 2112.09532) for object detection, on mmdetection.

Importing it first puts the stand-in for mmcv's compiled operators in place (mmdet cannot be imported without them),
then registers everything of mmpd in mmdet's registries.
"""

import contextlib as _contextlib
import io as _io
import warnings as _warnings

from .compat import mmcv_ops

mmcv_ops.install()

# The host prints a line for each optional package that it does not find, at the start of every tool.
with _contextlib.redirect_stdout(_io.StringIO()), _warnings.catch_warnings():
    _warnings.simplefilter('ignore')
    from . import register  # registers on import; must come after the stand-in
    from .compat.mmengine_loading import install_safe_loading

install_safe_loading()  # mmengine loads and resumes through mmpd.io

# AFP decodes whole batches with the head's own coder, which works and is what it warns of.
_warnings.filterwarnings('ignore', message='.*onnx_delta2bbox is deprecated')

__version__ = '0.1.0'
