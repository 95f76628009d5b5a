"""Parameters, FLOPs (multiply-adds) and pixels of each network of a chain, LR networks with both student pyramids.

python tools/cost.py configs/pd_voc.py
python tools/cost.py configs/pd_voc.py --cfg-options ratio=4
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import mmpd  # noqa: F401  (stands in for mmcv's operators before mmdet is imported)
from mmengine.config import DictAction
from mmengine.registry import init_default_scope
from rich.console import Console

from mmpd.chain.chain import is_chain, read_chain
from mmpd.cli import main_with_errors
from mmpd.evaluation.cost import chain_costs, network_cost, size_of
from mmpd.evaluation.measure import network_of, read_config
from mmpd.report.tables import cost_table


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='a chain config, or the config of one network with a test set')
    parser.add_argument('--size', nargs=2, type=int, metavar=('WIDTH', 'HEIGHT'), help='image size of a single network')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={}, help='key=value pairs merged in')
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    config = read_config(args.config, args.cfg_options)
    if is_chain(config):
        costs = chain_costs(read_chain(config))
    else:
        network = network_of(config)
        init_default_scope(config.get('default_scope', 'mmdet'))
        size = (args.size[0], args.size[1]) if args.size else size_of(network)
        costs = [network_cost(network.config.model, size, network.name)]
    console = Console(highlight=False)
    console.print(cost_table(costs, f'{args.config}: cost of one image, FLOPs = multiply-adds up to raw head outputs'))
    uncounted = sorted({operator for cost in costs for operator in cost.uncounted})
    if uncounted:
        console.print(f'Not counted in the FLOPs, though not cheap: {", ".join(uncounted)}')


if __name__ == '__main__':
    main_with_errors(main)
