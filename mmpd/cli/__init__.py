"""The command `mmpd`: one module a subcommand, and nothing heavy is imported before its arguments are read.

A command's module has a docstring (its help), `add_arguments(parser)` and `run(args)`; torch, mmengine and mmdet are
imported inside `run`. `tools/*.py` are the same commands for a checkout that is not installed.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Sequence

from .. import __version__
from .errors import with_errors

COMMANDS = {
    'init': 'look at a data set and write a chain config for it',
    'train': 'train a chain (teacher → assistant → student), or one stage',
    'check': 'check a chain before hours are lost',
    'ablate': 'does distillation pay here? plain controls against each term',
    'test': 'measure a network: AP, by object size, by class',
    'infer': 'find objects in images: pictures, COCO, VOC, YOLO, CSV',
    'export': 'a student as an ONNX file, checked against PyTorch',
    'cost': 'parameters, MACs, memory, latency, bytes; the most accurate network in a budget',
    'bench': 'what a distillation step costs beside its parts',
    'report': 'one page of what a chain or an ablation came to',
    'sr': 'a super-resolution stage: pictures, int8, the race against an LR detector',
    'demo': 'the whole chain on a small set that it draws itself',
    'convert': 'an old checkpoint with code in it as plain data',
    'doctor': 'what this environment is, for bug reports',
}
"""Subcommand → what it does."""


def parser_of(name: str, prog: str | None = None) -> argparse.ArgumentParser:
    """The argument parser of one command."""
    module = importlib.import_module(f'.{name}', __name__)
    parser = argparse.ArgumentParser(
        prog=prog, description=module.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    module.add_arguments(parser)
    return parser


def command(name: str, prog: str | None = None) -> Callable[[Sequence[str] | None], int]:
    """`main(argv)` of one command: parse, then run; returns the exit status. mmpd's own errors pass through."""

    def main(argv: Sequence[str] | None = None) -> int:
        words = list(sys.argv[1:] if argv is None else argv)
        args = parser_of(name, prog).parse_args(words)
        if os.getcwd() not in sys.path:
            sys.path.append(os.getcwd())  # the modules that `custom_imports` of a stage's folder names lie here
        args.argv = words  # for a command that starts itself again in other processes
        return importlib.import_module(f'.{name}', __name__).run(args) or 0

    return main


def main(argv: Sequence[str] | None = None) -> None:
    """`mmpd COMMAND …`, and `python -m mmpd COMMAND …`; ends the process."""
    argv = list(sys.argv[1:] if argv is None else argv)
    lines = '\n'.join(f'  {name:9} {text}' for name, text in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog='mmpd',
        usage='mmpd COMMAND …',
        description=f'Accurate detectors on low-resolution images.\n\n{lines}\n\nmmpd COMMAND --help says more',
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--version', action='version', version=f'mmpd {__version__}')
    parser.add_argument('command', choices=COMMANDS, metavar='COMMAND', help='one of those above')
    name = parser.parse_args(argv[:1]).command
    sys.exit(with_errors(lambda: command(name, f'mmpd {name}')(argv[1:])))


def main_with_errors(main: Callable[[], int | None]) -> None:
    """Run a function as a command does; ends the process."""
    sys.exit(with_errors(main))


def tool(name: str) -> None:
    """What `python tools/<name>.py` does; ends the process."""
    sys.exit(with_errors(command(name)))
