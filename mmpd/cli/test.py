"""Measure a network: AP50, AP50:95, AP by object size in HR pixels, AP per class.

mmpd test configs/pd_voc.py work_dirs/pd_voc/student/student_best.pth
mmpd test work_dirs/pd_voc/student/bench.py work_dirs/pd_voc/student/epoch_24.pth --out metrics.json
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

from ..errors import ConfigError
from .arguments import add_launcher, add_options, read


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('config', help="a chain config (its student is meant), a stage's config, bench.py or deploy.py")
    parser.add_argument('checkpoint', help='plain weights (student_best.pth) or a Runner checkpoint (epoch_N.pth)')
    parser.add_argument('--stage', help='another stage of the chain')
    parser.add_argument('--split', choices=['test', 'val'], default='test')
    parser.add_argument('--out', help='write the metrics into this .json file as well')
    parser.add_argument('--show-dir', help='draw ground truth and predictions of each image into this folder')
    add_options(parser)
    add_launcher(parser)


def run(args: argparse.Namespace) -> None:
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    config = read(args)
    if args.out and Path(args.out).is_dir():
        raise ConfigError(f'--out {args.out} is a folder: name a .json file')
    from rich.console import Console
    from rich.progress import Progress

    from ..evaluation.measure import measure, network_of
    from ..io.write import write_atomic
    from ..report.tables import measurement_tables
    from ..run.launch import launched_rank
    from ..run.progress import listening

    rank = launched_rank(args.launcher)
    network = network_of(config, args.stage, args.split)
    console = Console(highlight=False, quiet=rank != 0)
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task(f'{network.name} on {args.split}', total=None)
        with listening(lambda _name, _mode, done, total: progress.update(task, completed=done, total=total)):
            result = measure(config, args.checkpoint, args.split, args.launcher, args.stage, args.show_dir)
    title = f'{network.name}, {args.checkpoint}, {args.split} split'
    for table in measurement_tables(title, result, 'HR' if network.knows_hr else 'network'):
        console.print(table)
    if args.out and rank == 0:  # last: where it can't be written, hours of measuring are shown all the same
        content = dict(
            config=args.config,
            checkpoint=args.checkpoint,
            network=network.name,
            split=args.split,
            metrics=result.metrics,
            per_class=result.per_class,
        )
        Path(args.out).resolve().parent.mkdir(parents=True, exist_ok=True)
        write_atomic(json.dumps(content, indent=1).encode(), args.out)
