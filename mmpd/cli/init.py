"""Look at a data set (COCO JSON, YOLO text or VOC XML) and write a chain config for it.

mmpd init data/bottles            (--cpu where there is no GPU)
mmpd check bottles.py
"""

from __future__ import annotations

import argparse
import contextlib
import io
from pathlib import Path

from ..errors import ConfigError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('data', help='the folder of the data set, see docs/data.md')
    parser.add_argument('--out', help='the config file to write; default <name of the folder>.py')
    parser.add_argument('--ratio', type=int, default=2, help='HR side / LR side (%(default)s)')
    parser.add_argument(
        '--cpu', action='store_true', help='a chain that trains without a GPU: small images and networks'
    )
    parser.add_argument('--force', action='store_true', help='write over a file that is there')


def run(args: argparse.Namespace) -> None:
    out = Path(args.out or f'{Path(args.data).resolve().name}.py')
    if out.exists() and not args.force:
        raise ConfigError(f'--out {out} is there already: name another file, or add --force')
    if out.suffix != '.py':
        raise ConfigError(f'--out {out}: name a .py file, a config is one')
    if args.ratio < 1:
        raise ConfigError(f'--ratio {args.ratio}: give a whole number, at least 1')
    from mmengine.logging import MMLogger

    from .. import register  # noqa: F401
    from ..chain.init import advice, chain_text, find_layout, look
    from ..io.write import write_atomic

    MMLogger.get_instance('init', log_level='WARNING')
    layout = find_layout(args.data)
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools tells of every index
        seen = look(layout, args.cpu)
    print(f'{layout.kind.upper()} layout in {layout.root}, splits {", ".join(layout.splits)}')
    for line in advice(seen):
        print(f'  {line}')
    write_atomic(chain_text(layout, seen, args.ratio, args.cpu).encode(), out)
    print(f'{out} written. Next: mmpd check {out}')
