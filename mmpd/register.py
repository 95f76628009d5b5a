"""Imports every module that registers something in mmdet's registries (the target of `custom_imports`)."""

from .data import pair  # noqa: F401
from .data.voc import dataset  # noqa: F401
from .distill import distiller  # noqa: F401
from .evaluation import metric  # noqa: F401
from .hooks import (  # noqa: F401
    afp_hook,
    checkpoint_hook,
    epoch_length_hook,
    finite_hook,
    init_hook,
    seed_hook,
)
from .modules import fsr  # noqa: F401
from .terms import base, roi  # noqa: F401
