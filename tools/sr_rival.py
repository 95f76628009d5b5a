"""LR image → super-resolution → HR detector, against the LR student: AP, parameters, multiply-adds, time.

python tools/sr_rival.py configs/pd_bccd.py work_dirs/pd_bccd/assistant work_dirs/pd_bccd/student work_dirs/sr/student
The super-resolution network must have the chain's ratio, and be trained with its `reduction`.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import mmpd  # noqa: F401  (stands in for mmcv's operators before mmdet is imported)
from mmengine.config import DictAction
from rich.console import Console
from rich.table import Table

from mmpd.cli import main_with_errors


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='a detection chain')
    parser.add_argument('hr', help='folder of a finished HR stage of it')
    parser.add_argument('lr', help='folder of a finished LR stage of it')
    parser.add_argument('sr', help='folder of a finished stage of an sr chain')
    parser.add_argument('--split', choices=['test', 'val'], default='test')
    parser.add_argument('--out', help='write the rows into this .json file as well')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={}, help='key=value pairs merged in')
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    from mmpd.chain.chain import read_chain
    from mmpd.evaluation.measure import read_config
    from mmpd.io.deploy_folder import find_source
    from mmpd.io.write import write_atomic
    from mmpd.report.tables import count_text
    from mmpd.sr.rival import compare

    chain = read_chain(read_config(args.config, args.cfg_options))
    rows = compare(chain, find_source(args.hr), find_source(args.lr), args.sr, args.split)
    table = Table('network', 'AP50', 'AP', 'params', 'MACs', 'ms', title=f'{chain.name}, ratio {chain.ratio}')
    for row in rows:
        shown = (f'{row.ap50:.3f}', f'{row.ap:.3f}', count_text(row.params), count_text(row.macs))
        table.add_row(row.label, *shown, f'{1000 * row.seconds:.0f}')
    Console(highlight=False).print(table)
    if args.out:
        write_atomic(json.dumps([asdict(row) for row in rows], indent=1).encode(), args.out)


if __name__ == '__main__':
    main_with_errors(main)
