"""Turn an old checkpoint with code in it into plain data: mmpd convert OLD NEW --trust."""

from __future__ import annotations

import argparse

from ..errors import ConfigError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('old', help='a checkpoint from a source you trust')
    parser.add_argument('new', help='where the data-only checkpoint goes')
    parser.add_argument('--trust', action='store_true', help='I trust OLD: whatever code it contains may run')


def run(args: argparse.Namespace) -> None:
    if not args.trust:
        raise ConfigError(f'reading {args.old} runs the code in it; add --trust if you know where it comes from')
    from .. import register  # noqa: F401  (the classes that a pickled detector needs)
    from ..io.convert import convert_trusted

    dropped = convert_trusted(args.old, args.new)
    print(f'{args.new} written; left out: {", ".join(dropped) or "nothing"}')
