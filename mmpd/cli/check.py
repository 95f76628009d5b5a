"""Check a chain before training it: build every stage, run one step of it on real images, and explain every mismatch.

mmpd check configs/pd_voc.py
mmpd check configs/pd_voc.py --oracle 2 4 3 3/2 4/3
mmpd check configs/pd_voc.py --guide-ap work_dirs/pd_voc/assistant/assistant_best.pth --cfg-options ratio=4

Exit status 1 where a stage has an error, else 0.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ConfigError
from .arguments import add_options, device_of, read, work_dir_of

if TYPE_CHECKING:
    from rich.console import Console

    from ..chain.stage import Stage


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('config', help='a chain config')
    parser.add_argument('--stage', help='check this stage alone (with --guide-ap: measure its guide; default the last)')
    parser.add_argument(
        '--work-dir', help='take the weights of finished stages from here; default work_dirs/<config name>'
    )
    parser.add_argument(
        '--guide-ap', metavar='CHECKPOINT', help="measure instead what the guide's AP is through the alignment"
    )
    parser.add_argument(
        '--oracle', nargs='+', metavar='RATIO', help='measure instead whether an oracle guide is heard at these ratios'
    )
    parser.add_argument('--device', help="'cpu', 'cuda', …; default: a GPU where there is one")
    add_options(parser)


def run(args: argparse.Namespace) -> int:
    config = read(args)
    from rich.console import Console

    from ..chain.chain import is_chain, read_chain
    from ..check.preflight import check_stages
    from ..check.tables import print_checks, print_oracle
    from ..run.state import finished_checkpoint

    console, device = Console(highlight=False), device_of(args.device)
    if not is_chain(config):
        raise ConfigError(f'{args.config} has no stages: mmpd check is for chains')
    chain = read_chain(config)
    stage = chain.stage(args.stage or list(chain.stages)[-1])
    if args.oracle:
        for option in ('guide_ap', 'stage'):
            if getattr(args, option):
                raise ConfigError(f'--{option.replace("_", "-")} and --oracle do not go together: leave one out')
        print_oracle([read_chain(_at_ratio(args, ratio)) for ratio in args.oracle], console)
        return 0
    if args.guide_ap:
        print_guide_ap(stage, args.guide_ap, device, console)
        return 0
    work_dir = Path(work_dir_of(args, config))
    finished = {name: finished_checkpoint(work_dir / name) for name in chain.stages}
    trained = {name: file for name, file in finished.items() if file}
    if args.work_dir and not trained:
        console.print(f'no finished stage in {work_dir}: guides are random here', markup=False)
    checks = check_stages([stage] if args.stage else chain.stages.values(), trained, device)
    print_checks(checks, console)
    return int(any(check.errors for check in checks))


def _at_ratio(args: argparse.Namespace, ratio: str):
    """The config of the arguments, at another ratio."""
    config = read(args)
    config.ratio = ratio
    return config


def print_guide_ap(stage: Stage, checkpoint: str, device: str, console: Console) -> None:
    from ..check.guide import measure_guide

    result = measure_guide(stage, checkpoint, device)
    console.print(f'guide of stage {stage.name} at ratio {stage.ratio}, on data.val, same post-processing')
    for key in ('AP', 'AP50'):
        console.print(
            f'{key:5} by itself {result.identity[key]:.3f}, through the alignment {result.through[key]:.3f}: '
            f'{result.kept(key):.1%} kept'
        )
