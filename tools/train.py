"""Train a chain (teacher → assistant → student), or one stage's dumped config.

python tools/train.py configs/pd_voc.py
python tools/train.py configs/pd_voc.py --stage student --cfg-options ratio=4
"""

from __future__ import annotations

import argparse
import os
import sys
from contextlib import nullcontext
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import mmpd  # noqa: F401  (stands in for mmcv's operators before mmdet is imported)
from mmengine.config import DictAction
from rich.console import Console

from mmpd.chain.chain import is_chain, read_chain
from mmpd.cli import main_with_errors
from mmpd.compat.mmengine_loading import find_resumable
from mmpd.run.launch import from_rank_0, join, launched_rank
from mmpd.run.lock import WorkDirLock
from mmpd.run.seeds import run_many, summary_table
from mmpd.run.stages import run_stages
from mmpd.run.train import train
from mmpd.chain.task import task_of
from mmpd.evaluation.measure import read_config


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='a chain config (with stages), or the config of one training')
    parser.add_argument('--work-dir', help='where results go; default work_dirs/<config name>')
    parser.add_argument('--stage', help='train this stage of the chain alone')
    parser.add_argument('--runs', type=int, help='train the chain from this many seeds and report mean ± sd on test')
    parser.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        help='of one training: resume from this checkpoint, or from the newest intact one. A chain always resumes',
    )
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={}, help='key=value pairs merged in')
    parser.add_argument('--no-check', action='store_true', help='skip the preflight of a chain')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    config = read_config(args.config, args.cfg_options)
    name = Path(args.config).stem
    if is_chain(config):
        work_dir = args.work_dir or config.get('work_dir') or f'work_dirs/{name}'
        chain = read_chain(config)
        if args.runs is None:
            run_stages(chain, work_dir, args.stage, args.launcher, check=not args.no_check)
            return
        summary = run_many(chain, work_dir, args.runs, args.stage, args.launcher, check=not args.no_check)
        if launched_rank(args.launcher) == 0:
            Console(highlight=False).print(summary_table(summary, task_of(chain).headline))
        return
    config.work_dir = args.work_dir or config.get('work_dir') or f'work_dirs/{name}'
    resume = args.resume
    with WorkDirLock(config.work_dir) if launched_rank(args.launcher) == 0 else nullcontext():
        join(args.launcher, **config.get('env_cfg', {}).get('dist_cfg', {}))
        if resume == 'auto':
            resume = from_rank_0(lambda: find_resumable(config.work_dir))
        train(config, args.launcher, resume, experiment=name)


if __name__ == '__main__':
    main_with_errors(main)
