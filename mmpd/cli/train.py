"""Train a chain (teacher → assistant → student), or one stage's dumped config.

mmpd train configs/pd_voc.py
mmpd train mmpd::pd_voc.py --stage student --cfg-options ratio=4
"""

from __future__ import annotations

import argparse
import os
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from .arguments import add_launcher, add_options, read, work_dir_of


def add_arguments(parser: argparse.ArgumentParser) -> None:
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
    parser.add_argument('--verbose', action='store_true', help='the whole log here, in place of one line of progress')
    parser.add_argument('--tensorboard', action='store_true', help='curves and pictures for TensorBoard, too')
    parser.add_argument('--no-report', action='store_true', help='no report.html at the end of a chain')
    parser.add_argument('--no-check', action='store_true', help='skip the preflight of a chain')
    add_options(parser)
    add_launcher(parser)


def run(args: argparse.Namespace) -> None:
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    config = read(args)
    from ..chain.chain import is_chain

    work_dir = work_dir_of(args, config)
    if is_chain(config):
        train_chain(args, config, work_dir)
    else:
        train_one(args, config, work_dir)


def train_chain(args: argparse.Namespace, config, work_dir: str) -> None:
    if args.resume not in (None, 'auto'):
        raise ConfigError(
            f'--resume {args.resume}: a chain goes on from the newest intact checkpoint of each stage by itself; leave '
            "the file out, or give it with the stage's own config"
        )
    from rich.console import Console

    from ..chain.chain import read_chain
    from ..run.launch import launched_rank
    from ..run.live import Show
    from ..run.seeds import run_many, summary_table
    from ..run.stages import run_stages

    chain, console, first = (
        read_chain(config),
        Console(highlight=False, soft_wrap=True),
        launched_rank(args.launcher) == 0,
    )
    how: dict[str, Any] = dict(check=not args.no_check, show=Show(args.verbose, args.tensorboard))
    if args.runs is not None:
        summary = run_many(chain, work_dir, args.runs, args.stage, args.launcher, **how)
        if first:
            console.print(summary_table(summary, chain.final.task.headline, chain.final.task.fractions))
        return
    run_stages(chain, work_dir, args.stage, args.launcher, **how)
    if first and args.stage is None and not args.no_report and chain.config.get('task', 'detection') == 'detection':
        from ..report.after import report_after

        report_after(work_dir, 'test', console)


def train_one(args: argparse.Namespace, config, work_dir: str) -> None:
    for option in ('stage', 'runs'):
        if getattr(args, option) is not None:
            raise ConfigError(f'--{option} {getattr(args, option)} is for a chain, and {args.config} is one training')
    from ..compat.mmengine_loading import find_resumable
    from ..io.resume import latest_intact
    from ..run.launch import from_rank_0, join, launched_rank
    from ..run.live import Show
    from ..run.lock import WorkDirLock
    from ..run.train import train

    config.work_dir = work_dir
    resume, first = args.resume, launched_rank(args.launcher) == 0
    with WorkDirLock(work_dir) if first else nullcontext():
        if first and resume is None and (Path(work_dir, 'done.json').is_file() or latest_intact(work_dir)):
            raise ConfigError(
                f'{work_dir} holds a training, which this one would write over: give another --work-dir, or --resume '
                'to go on with it'
            )
        join(args.launcher, **config.get('env_cfg', {}).get('dist_cfg', {}))
        if resume == 'auto':
            resume = from_rank_0(lambda: find_resumable(work_dir))
        train(
            config, args.launcher, resume, experiment=Path(args.config).stem, show=Show(args.verbose, args.tensorboard)
        )
