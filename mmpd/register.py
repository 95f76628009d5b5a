"""Imports every module that registers something in mmdet's registries, at their first look-up.

Importing it also makes mmengine load and resume through mmpd.io, and find `mmpd::NAME` in `_base_`.
"""

import contextlib as _contextlib
import gc as _gc
import io as _io
import warnings as _warnings

from pycocotools import coco as _coco

from .compat.late_imgaug import late_imgaug as _late_imgaug

# Imports make a million objects that stay: looking through them for garbage, now and at each of mmengine's collections,
# costs seconds of a start.
_collecting = _gc.isenabled()
_gc.disable()
# The host prints a line for each optional package that it does not find, at the start of every tool.
with _late_imgaug(), _contextlib.redirect_stdout(_io.StringIO()), _warnings.catch_warnings():
    _warnings.simplefilter('ignore')
    from mmdet.models.dense_heads import SSDHead as _SSDHead

    from .compat import mmengine_configs
    from .compat.mmengine_loading import install_safe_loading
    from .data import batching, pair, yolo
    from .data.voc import dataset
    from .det import task, view
    from .distill import distiller
    from .evaluation import metric
    from .hooks import (
        afp_hook,
        checkpoint_hook,
        epoch_length_hook,
        finite_hook,
        init_hook,
        seed_hook,
        speed_hooks,
    )
    from .io import package_weights
    from .modules import fsr as fsr_neck
    from .modules import timm_backbone
    from .terms import adversarial, crkd, feature, fsr, isrd, response, roi

_gc.freeze()
if _collecting:
    _gc.enable()
if not hasattr(_SSDHead, 'loss_cls'):
    _SSDHead.loss_cls = None  # mmdet 3.3 and later ask for it at every prediction, and train an SSD without
install_safe_loading()
mmengine_configs.install()
# AFP decodes whole batches with the head's own coder, which works and is what it warns of.
_warnings.filterwarnings('ignore', message='.*onnx_delta2bbox is deprecated')
_warnings.filterwarnings('ignore', message='.*`num_anchors` is deprecated')  # mmdet's own GFL head uses it
_coco.print = lambda *_: None  # pycocotools prints four lines for each file that is opened
