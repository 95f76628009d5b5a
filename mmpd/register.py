"""Imports every module that registers something in mmdet's registries (the target of `custom_imports`)."""

from . import evaluation, hooks, roi_term, terms  # noqa: F401
from .data import pair, voc  # noqa: F401
from .distill import distiller  # noqa: F401
from .hooks import (
    afp_hook,  # noqa: F401
    init_hook,  # noqa: F401
)
from .necks import fsr  # noqa: F401
