"""The rows of an ablation, one after the other or several processes at once, with reports as they come."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import torch
from rich.console import Console

from ..chain.chain import Chain
from ..check.preflight import check_stages
from ..errors import ConfigError
from ..paths import PACKAGE
from ..run.live import Show
from ..run.seeds import first_seed
from ..run.state import finished_checkpoint
from .report import write_report
from .rows import DEFAULT_ROWS, QUICK_ROWS, ablation_chain, in_order
from .run import SHARED, read_results, refuse_other_options, run_row, share_guides

console = Console(highlight=False, soft_wrap=True)
QUICK_EPOCHS = 3
Job = tuple[str, int]
"""Row and seed."""


def ablate(args: argparse.Namespace, chain: Chain) -> None:
    """Train and measure what the arguments of `mmpd ablate` ask for, and print the reports.

    Raises:
        ConfigError: a count below 1, a row that cannot be trained, or results of other options.
    """
    if args.quick_epochs is not None and not args.quick:
        raise ConfigError(f'--quick-epochs {args.quick_epochs} is of the quick form: add --quick, or leave it out')
    args.quick_epochs = QUICK_EPOCHS if args.quick_epochs is None else args.quick_epochs
    for key in ('seeds', 'jobs', 'quick_epochs'):
        if getattr(args, key) < 1:
            raise ConfigError(f'--{key.replace("_", "-")} {getattr(args, key)}: give a whole number, at least 1')
    suffix = '_quick' if args.quick else ''
    args.work_dir = Path(args.work_dir or f'work_dirs/ablate_{chain.name}{suffix}')
    args.out_dir = Path(args.out_dir or args.work_dir / 'results')
    if args.one:
        run(args, chain, (args.one[0], int(args.one[1])))
        return
    results = read_results(args.out_dir)
    for seed in {result['seed'] for result in results}:
        refuse_other_options(seeded(args, chain, seed), results, args.out_dir)
    run_all(args, chain, checked_rows(args, chain))
    for text in write_reports(args):
        console.print(text, markup=False)
    if not args.no_report and chain.config.get('task', 'detection') == 'detection':
        from ..report.after import report_after  # here: a report is made of an ablation's rows as well

        report_after(args.work_dir, args.splits[-1], console, args.out_dir)


def seeded(args: argparse.Namespace, chain: Chain, seed: int) -> Chain:
    """The ablation chain of one seed."""
    rows = ablation_chain(chain, seed, args.quick_epochs if args.quick else None)
    first = first_seed(chain)
    if args.share_guides and seed > first:
        return share_guides(rows, args.work_dir / f'seed{first}')
    return rows


def checked_rows(args: argparse.Namespace, chain: Chain) -> list[str]:
    """The rows to run, after a preflight of those that are not trained yet.

    Raises:
        ConfigError: a row that --rows names, or one that others need, cannot be trained. Other rows are left out.
    """
    first = first_seed(chain)
    stages = seeded(args, chain, first)
    rows = args.rows or [row for row in (QUICK_ROWS if args.quick else DEFAULT_ROWS) if row in stages.stages]
    needed = in_order(stages, [*(args.rows or ()), 'student'])
    finished = {row: finished_checkpoint(args.work_dir / f'seed{first}' / row) for row in stages.stages}
    known = {row: file for row, file in finished.items() if file}
    ordered = [stages.stages[row] for row in in_order(stages, rows)]
    todo = [stage for stage in ordered if stage.name not in known and not stage.given]
    checks = check_stages(todo, known, 'cuda' if torch.cuda.is_available() else 'cpu')
    refused = {check.name: [str(finding) for finding in check.errors] for check in checks if check.errors}
    fatal = [text for row, texts in refused.items() if row in needed for text in texts]
    if fatal:
        raise ConfigError('the preflight found\n  ' + '\n  '.join(fatal))
    for row, texts in refused.items():
        console.print(f'row {row} is left out: {texts[0]}', markup=False)
    return [row for row in rows if row not in refused]


def run(args: argparse.Namespace, chain: Chain, job: Job) -> None:
    run_row(seeded(args, chain, job[1]), job[0], args.work_dir, args.out_dir, args.splits, Show(args.verbose))


def write_reports(args: argparse.Namespace) -> list[str]:
    """Tables, verdicts and plots of what there is so far."""
    return [write_report(read_results(args.out_dir), split, args.out_dir) for split in args.splits]


def run_all(args: argparse.Namespace, chain: Chain, rows: list[str]) -> None:
    """Every row of every seed, in order; with --jobs in processes of their own, guides before what needs them."""
    first = first_seed(chain)
    stages = seeded(args, chain, first)
    jobs = [(row, seed) for seed in range(first, first + args.seeds) for row in in_order(stages, rows)]
    once = {row for row, stage in stages.stages.items() if stage.given}  # the same file for every seed
    if args.share_guides:
        once |= set(SHARED)
    jobs = [job for job in jobs if job[1] == first or job[0] not in once]
    results = {(result['row'], result['seed']): result['metrics'] for result in read_results(args.out_dir)}
    todo = [job for job in jobs if not set(args.splits) <= set(results.get(job, {}))]
    if len(todo) < len(jobs):
        console.print(f'{len(jobs) - len(todo)} of {len(jobs)} rows were measured before')
    begin = time.time()
    if args.jobs == 1:
        for index, job in enumerate(todo):
            run(args, chain, job)
            report_progress(args, index + 1, len(todo), job, begin)
        return
    run_parallel(args, chain, todo, begin)


def run_parallel(args: argparse.Namespace, chain: Chain, jobs: list[Job], begin: float) -> None:
    waiting, done = list(jobs), set()
    running: dict[Job, subprocess.Popen] = {}
    first = first_seed(chain)
    needs = ablation_chain(chain, first)
    shared = SHARED if args.share_guides else ()
    while waiting or running:
        for job, process in list(running.items()):
            if process.poll() is None:
                continue
            running.pop(job)
            if process.returncode:
                for other in running.values():
                    other.terminate()
                sys.exit(f'row {job[0]}, seed {job[1]} failed: see {log_file(args, job)}')
            done.add(job)
            report_progress(args, len(done), len(jobs), job, begin)
        for job in list(waiting):
            names = [other.name for other in needs.stages[job[0]].needs]
            wanted = {(name, first if name in shared else job[1]) for name in names}
            if len(running) < args.jobs and not (wanted & set(jobs)) - done:
                waiting.remove(job)
                running[job] = start(args, job)
        time.sleep(0.2)


def start(args: argparse.Namespace, job: Job) -> subprocess.Popen:
    log_file(args, job).parent.mkdir(parents=True, exist_ok=True)
    with open(log_file(args, job), 'a') as log:
        command = [sys.executable, '-m', 'mmpd', 'ablate', *args.argv, '--one', job[0], str(job[1])]
        path = os.pathsep.join(filter(None, [str(PACKAGE.parent), os.environ.get('PYTHONPATH')]))
        return subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, 'PYTHONPATH': path})


def log_file(args: argparse.Namespace, job: Job) -> Path:
    return args.work_dir / f'{job[0]}_seed{job[1]}.log'


def report_progress(args: argparse.Namespace, done: int, total: int, job: Job, begin: float) -> None:
    spent = time.time() - begin
    left = spent / done * (total - done)
    console.print(
        f'row {done}/{total}: {job[0]}, seed {job[1]}; {spent / 60:.0f} min spent, about {left / 60:.0f} left'
    )
    write_reports(args)  # now, too: whatever stops the next row, this one is in the table
