"""Train and test the rows that say whether distillation pays (finished rows are reused).

    python tools/ablate.py configs/pd_bccd.py --seeds 3 --cfg-options ratio=4
    python tools/ablate.py configs/pd_bccd.py --rows lr_plain lr_init student --quick
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import mmpd  # noqa: F401
from mmpd.ablate import ROWS, ablation_chain, run_row
from mmpd.chain import needed_stages, read_chain
from mmpd.cli import main_with_errors
from mmengine.config import Config, DictAction


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config')
    parser.add_argument('--seeds', type=int, default=1, help='seeds 0..N-1')
    parser.add_argument('--rows', nargs='+', default=list(ROWS), choices=list(ROWS), metavar='ROW')
    parser.add_argument('--splits', nargs='+', default=['val'], choices=['val', 'test'])
    parser.add_argument('--work-dir')
    parser.add_argument('--out-dir', help='where the JSON of each row goes; default <work-dir>/results')
    parser.add_argument('--jobs', type=int, default=1, help='rows trained at once, each in its own process')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={})
    parser.add_argument('--one', nargs=2, metavar=('ROW', 'SEED'), help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    config = Config.fromfile(args.config)
    config.merge_from_dict(args.cfg_options)
    chain = read_chain(config)
    work_dir = Path(args.work_dir or f'work_dirs/ablate_{chain.name}')
    out_dir = Path(args.out_dir or work_dir / 'results')
    if args.one:
        run_row(chain, args.one[0], int(args.one[1]), work_dir, out_dir, args.splits)
        return
    schedule(args, chain, work_dir)


def schedule(args: argparse.Namespace, chain, work_dir: Path) -> None:
    """Run rows in processes of their own, guides before what needs them."""
    rows = ablation_chain(chain, 0)
    waiting = [(row, seed) for row in rows.stages if row in _closure(rows, args.rows) for seed in range(args.seeds)]
    running: dict[tuple[str, int], subprocess.Popen] = {}
    done: set[tuple[str, int]] = set()
    failed: set[tuple[str, int]] = set()
    while waiting or running:
        for job in list(running):
            status = running[job].poll()
            if status is not None:
                running.pop(job)
                (failed if status else done).add(job)
                print(f'{time.strftime("%H:%M:%S")} {job[0]} seed {job[1]}: {"FAILED" if status else "done"}', flush=True)
        for job in list(waiting):
            needs = {(needed, job[1]) for needed in needed_stages(rows, job[0])}
            if needs & failed:
                waiting.remove(job)
                failed.add(job)
            elif needs <= done and len(running) < args.jobs:
                waiting.remove(job)
                running[job] = _start(job, work_dir)
        time.sleep(0.5)
    if failed:
        sys.exit(f'failed: {sorted(failed)}; see the logs in {work_dir}')


def _closure(chain, rows: list[str]) -> set[str]:
    wanted = set()
    pending = [row for row in rows if row in chain.stages]
    while pending:
        row = pending.pop()
        wanted.add(row)
        pending += needed_stages(chain, row)
    return wanted


def _start(job: tuple[str, int], work_dir: Path) -> subprocess.Popen:
    work_dir.mkdir(parents=True, exist_ok=True)
    log = open(work_dir / f'{job[0]}_seed{job[1]}.log', 'a')
    return subprocess.Popen([sys.executable, __file__, *sys.argv[1:], '--one', job[0], str(job[1])], stdout=log, stderr=log)


if __name__ == '__main__':
    main_with_errors(main)
