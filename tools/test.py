"""Measure a network: AP50, AP50:95, AP by object size in HR pixels, AP per class.

python tools/test.py configs/pd_voc.py work_dirs/pd_voc/student/student_best.pth
python tools/test.py work_dirs/pd_voc/student/bench.py work_dirs/pd_voc/student/epoch_24.pth --out metrics.json
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import mmpd  # noqa: F401  (stands in for mmcv's operators before mmdet is imported)
from mmengine.config import DictAction
from rich.console import Console
from rich.progress import Progress

from mmpd.io.write import write_atomic
from mmpd.cli import main_with_errors
from mmpd.run.launch import launched_rank
from mmpd.evaluation.measure import Network, measure, network_of, read_config
from mmpd.run.progress import listening
from mmpd.report.tables import measurement_tables


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help="a chain config (its student is meant), a stage's config, bench.py or deploy.py")
    parser.add_argument('checkpoint', help='plain weights (student_best.pth) or a Runner checkpoint (epoch_N.pth)')
    parser.add_argument('--stage', help='another stage of the chain')
    parser.add_argument('--split', choices=['test', 'val'], default='test')
    parser.add_argument('--out', help='write the metrics into this .json file as well')
    parser.add_argument('--show-dir', help='draw ground truth and predictions of each image into this folder')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={}, help='key=value pairs merged in')
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    rank = launched_rank(args.launcher)
    config = read_config(args.config, args.cfg_options)
    network = network_of(config, args.stage, args.split)
    console = Console(highlight=False, quiet=rank != 0)
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task(f'{network.name} on {args.split}', total=None)
        with listening(lambda _name, _mode, done, total: progress.update(task, completed=done, total=total)):
            result = measure(config, args.checkpoint, args.split, args.launcher, args.stage, args.show_dir)
    for table in measurement_tables(title(network, args), result, 'HR' if network.knows_hr else 'network'):
        console.print(table)
    if args.out and rank == 0:
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


def title(network: Network, args: argparse.Namespace) -> str:
    return f'{network.name}, {args.checkpoint}, {args.split} split'


if __name__ == '__main__':
    main_with_errors(main)
