"""How a command ends: errors that are the user's to mend are one line, not a traceback."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Callable

from ..errors import CheckpointError, ConfigError, DataError, WorkDirBusy

OURS = (ConfigError, DataError, CheckpointError, WorkDirBusy)
PATHS = (PermissionError, NotADirectoryError, IsADirectoryError, FileExistsError, FileNotFoundError)


def with_errors(main: Callable[..., int | None]) -> int:
    """Run a command; returns its exit status.

    Errors that mmpd raises on purpose, and a path that can't be read or written, are printed without a traceback and
    give 1; Ctrl-C gives 130. MMPD_TRACEBACK=1 shows the traceback as well.
    """
    try:
        status = main() or 0
        if sys.stdout:
            sys.stdout.flush()  # here, where a pipe that nobody reads is no surprise
        return status
    except (*OURS, *PATHS) as error:
        if os.environ.get('MMPD_TRACEBACK'):
            raise
        text = f'{type(error).__name__}: {error}'
        if isinstance(error, FileNotFoundError):  # a data-loader worker's is its traceback as text
            text = f'{type(error).__name__}: {str(error).strip().splitlines()[-1].rpartition("] ")[2]}'
        elif isinstance(error, PATHS):
            text = f'{error.strerror}: {error.filename!r}; choose another --work-dir or --out, or mend its permissions'
    except ImportError as error:
        if 'Failed to import custom modules' not in str(error):
            raise
        text = (
            f'ConfigError: custom_imports names a module that cannot be imported here ({error.__cause__}): run the '
            'command in the folder where it lies, or add that folder to PYTHONPATH'
        )
    except BrokenPipeError:
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)
        if not poll.poll(0):  # a pipe between processes of ours
            raise
        # `mmpd … | head`: nobody reads on, and Python would say so once more as it ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        print('\nStopped. The same command goes on where it was cut.', file=sys.stderr)
        return 130
    colour, plain = ('\033[31m', '\033[0m') if sys.stderr.isatty() and not os.environ.get('NO_COLOR') else ('', '')
    print(f'{colour}{text}{plain}', file=sys.stderr)
    return 1
