"""What the command lines in tools/ share."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from rich.console import Console

from .errors import CheckpointError, ConfigError, DataError
from .run.lock import WorkDirBusy


def main_with_errors(main: Callable[[], object]) -> None:
    """Run a command; errors that mmpd raises on purpose are printed without a traceback, and end with status 1.

    MMPD_TRACEBACK=1 shows the traceback as well.
    """
    try:
        main()
    except (ConfigError, DataError, CheckpointError, WorkDirBusy) as error:
        if os.environ.get('MMPD_TRACEBACK'):
            raise
        Console(stderr=True, highlight=False, soft_wrap=True).print(
            f'{type(error).__name__}: {error}', style='red', markup=False
        )
        sys.exit(1)
