"""Imports every module that registers something in mmdet's registries (the target of `custom_imports`)."""

from .data import pair  # noqa: F401
from .data.voc import dataset  # noqa: F401
from .det import task  # noqa: F401
from .distill import distiller  # noqa: F401
from .evaluation import metric  # noqa: F401
from .hooks import afp_hook, checkpoint_hook, epoch_length_hook, finite_hook, init_hook, seed_hook  # noqa: F401
from .modules import fsr as fsr_neck  # noqa: F401
from .terms import feature, fsr, isrd, response, roi  # noqa: F401
