"""Imports every module that registers something in mmdet's registries (the target of `custom_imports`)."""

from . import hooks  # noqa: F401
from .data import pair  # noqa: F401
from .data.voc import dataset as voc  # noqa: F401
from .distill import distiller  # noqa: F401
from .evaluation import metric as evaluation  # noqa: F401
from .hooks import afp_hook, init_hook  # noqa: F401
from .modules import fsr  # noqa: F401
from .terms import base as terms
from .terms import roi as roi_term  # noqa: F401
