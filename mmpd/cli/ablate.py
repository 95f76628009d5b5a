"""Train and test the rows that say whether distillation pays. Finished rows are reused; the same command goes on.

mmpd ablate configs/pd_bccd.py --seeds 3 --cfg-options ratio=4
mmpd ablate configs/pd_bccd.py --rows lr_plain lr_init student
mmpd ablate MY_CHAIN.py --quick
"""

from __future__ import annotations

import argparse
from pathlib import Path

from .arguments import add_options, read


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('config', help='a chain config with the stages assistant and student')
    parser.add_argument('--seeds', type=int, default=1, help='how many seeds, from randomness.seed on (0)')
    parser.add_argument('--rows', nargs='+', metavar='ROW', help='see docs/results.md; default: all but those of RKD')
    parser.add_argument('--splits', nargs='+', default=['val'], choices=['val', 'test'])
    parser.add_argument('--work-dir', help='default work_dirs/ablate_<config name>')
    parser.add_argument('--out-dir', help='where the JSON of each row goes; default <work-dir>/results')
    parser.add_argument('--jobs', type=int, default=1, help='rows at once, each in a process of its own')
    parser.add_argument(
        '--share-guides', action='store_true', help='train teacher and assistant for the first seed only'
    )
    parser.add_argument('--quick', action='store_true', help='two controls and the student, few epochs, and a verdict')
    parser.add_argument('--quick-epochs', type=int, help='with --quick: epochs of each stage (3)')
    parser.add_argument('--verbose', action='store_true', help='the whole log here, in place of one line of progress')
    parser.add_argument('--no-report', action='store_true', help='no report.html at the end')
    parser.add_argument('--one', nargs=2, metavar=('ROW', 'SEED'), help=argparse.SUPPRESS)
    add_options(parser)


def run(args: argparse.Namespace) -> None:
    config = read(args)
    from ..ablate.jobs import ablate
    from ..chain.chain import read_chain

    chain = read_chain(config)
    if args.out_dir:  # before the first training, not after it
        Path(args.out_dir).mkdir(parents=True, exist_ok=True)
    ablate(args, chain)
