"""Imports mmpretrain and every module of mmpd.cls that registers something (the target of `custom_imports`)."""

import contextlib
import io

from ..errors import ConfigError

try:
    with contextlib.redirect_stdout(io.StringIO()):  # it prints which optional packages it does not find
        import mmpretrain.datasets
        import mmpretrain.evaluation
        import mmpretrain.models  # noqa: F401
except ImportError as error:
    # No ImportError: mmengine would report only that `mmpd.cls.register` cannot be imported.
    raise ConfigError(
        f"task = 'classification' needs mmpretrain, which cannot be imported ({error}): pip install -e .[cls], or "
        "-e .[cls-upstream] beside OpenMMLab's own packages"
    ) from error

from . import data, metric, resolution, task, terms, view  # noqa: F401
