"""Check a chain before training it: build every stage, run one step of it on real images, and explain every mismatch.

python tools/check.py configs/pd_voc.py
python tools/check.py configs/pd_voc.py --oracle 2 4 3 3/2 4/3
python tools/check.py configs/pd_voc.py --guide-ap work_dirs/pd_voc/assistant/assistant_best.pth --cfg-options ratio=4

Exit status 1 where a stage has an error, else 0.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import mmpd  # noqa: F401  (stands in for mmcv's operators before mmdet is imported)
import torch
from mmengine.config import DictAction
from rich.console import Console

from mmpd.chain.chain import is_chain, read_chain
from mmpd.chain.stage import Stage
from mmpd.check.preflight import check_stages
from mmpd.check.guide import measure_guide
from mmpd.check.tables import print_checks, print_oracle
from mmpd.cli import main_with_errors
from mmpd.errors import ConfigError
from mmpd.run.state import finished_checkpoint
from mmpd.evaluation.measure import read_config


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
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
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={}, help='key=value pairs merged in')
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    console = Console(highlight=False)
    config = read_config(args.config, args.cfg_options)
    if not is_chain(config):
        raise ConfigError(f'{args.config} has no stages: tools/check.py checks chains')
    chain = read_chain(config)
    stage = chain.stage(args.stage or list(chain.stages)[-1])
    if args.oracle:
        options = [{**args.cfg_options, 'ratio': ratio} for ratio in args.oracle]
        print_oracle((read_chain(read_config(args.config, option)) for option in options), console)
        return
    if args.guide_ap:
        print_guide_ap(stage, args.guide_ap, args.device, console)
        return
    work_dir = Path(args.work_dir or config.get('work_dir') or f'work_dirs/{Path(args.config).stem}')
    finished = {name: finished_checkpoint(work_dir / name) for name in chain.stages}
    trained = {name: file for name, file in finished.items() if file}
    checks = check_stages([stage] if args.stage else chain.stages.values(), trained, args.device)
    print_checks(checks, console)
    if any(check.errors for check in checks):
        sys.exit(1)


def print_guide_ap(stage: Stage, checkpoint: str, device: str, console: Console) -> None:
    result = measure_guide(stage, checkpoint, device)
    console.print(f'guide of stage {stage.name} at ratio {stage.ratio}, on data.val, same post-processing')
    for key in ('AP', 'AP50'):
        console.print(
            f'{key:5} by itself {result.identity[key]:.3f}, through the alignment {result.through[key]:.3f}: '
            f'{result.kept(key):.1%} kept'
        )


if __name__ == '__main__':
    main_with_errors(main)
