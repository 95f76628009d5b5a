"""Train teacher, assistant and student on a small drawn set and compare them with an undistilled student.

mmpd demo
A second call goes on where the first one was cut, and shows the result again when it is finished.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

from ..paths import configs_folder
from .arguments import add_options, options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--work-dir', default='work_dirs/demo', help='where everything goes (%(default)s)')
    add_options(parser)


def run(args: argparse.Namespace) -> None:
    log = Path(args.work_dir) / 'demo.log'
    log.parent.mkdir(parents=True, exist_ok=True)
    from rich.console import Console
    from rich.markup import escape

    console = Console(file=sys.stdout, highlight=False)
    console.print(
        '[bold]mmpd[/bold] demo: HR teacher → HR assistant → LR student, and the same student without them\n'
        f'[bold]mmpd[/bold] the training log goes to {escape(str(log))}',
        soft_wrap=True,
    )
    with quiet(log):  # the libraries speak while they are imported already
        from .. import register  # noqa: F401
        from ..demo import run as demo

        demo.run(configs_folder() / 'pd_demo.py', args.work_dir, options(args.cfg_options), console)


@contextmanager
def quiet(log: Path) -> Iterator[None]:
    """Append all output to `log`; an error that leaves the block is shown."""
    with open(log, 'a', encoding='utf-8') as file, redirect_stdout(file), redirect_stderr(file):
        yield
