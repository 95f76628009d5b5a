"""What a distillation step costs beside its parts, the plain student step and the guide's forward: docs/performance.md.

mmpd bench configs/pd_bccd.py --guide work_dirs/pd_bccd/assistant/assistant_best.pth
mmpd bench configs/pd_voc_gfl.py --batch 2 --threads 2 --amp --channels-last --json bench.json
mmpd bench configs/pd_bccd.py --start                                and how long until the first iteration
mmpd bench configs/pd_bccd.py --compare                              what channels last, bfloat16, torch.compile give
mmpd bench configs/pd_bccd.py --growth growth.png                    time against side, batch, classes and objects
"""

from __future__ import annotations

import argparse

from .arguments import add_options, check_counts, device_of, read


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('config', help='a chain config')
    parser.add_argument('--stage', help='a stage with a guide; default the last')
    parser.add_argument('--guide', metavar='CHECKPOINT', help='trained weights of its guide; default random ones')
    parser.add_argument('--threads', type=int, default=1, help='of torch (%(default)s)')
    parser.add_argument('--batch', type=int, default=4, help='images (%(default)s)')
    parser.add_argument('--rounds', type=int, default=15, help='repetitions of every part (%(default)s)')
    parser.add_argument('--amp', action='store_true', help='autocast to bfloat16')
    parser.add_argument('--channels-last', action='store_true', help='memory format of all weights')
    parser.add_argument('--compile', action='store_true', help='torch.compile for the guide')
    parser.add_argument('--device', help="'cpu', 'cuda:0', …; default: a GPU where there is one")
    parser.add_argument(
        '--guide-cache',
        nargs='?',
        const='memory',
        metavar='DIR',
        help='also a step whose guide outputs are found, in memory or in DIR',
    )
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument('--start', action='store_true', help='also the time of mmpd train to its first iteration')
    instead.add_argument('--growth', metavar='PNG', help='instead: a picture of how the step grows, on drawn images')
    instead.add_argument(
        '--compare', action='store_true', help='instead: the step plain, channels last, in bfloat16, guide compiled'
    )
    parser.add_argument('--json', metavar='FILE', help='write all figures here as well')
    add_options(parser)


def run(args: argparse.Namespace) -> None:
    config = read(args)
    from rich.console import Console

    from ..chain.chain import read_chain
    from ..run.bench import BenchOptions

    check_counts(args, 'threads', 'batch', 'rounds')
    chain = read_chain(config)
    stage = chain.stage(args.stage or list(chain.stages)[-1])
    options = BenchOptions(
        threads=args.threads,
        batch=args.batch,
        rounds=args.rounds,
        amp=args.amp,
        channels_last=args.channels_last,
        compile=args.compile,
        device=device_of(args.device),
        guide_cache=args.guide_cache,
    )
    measure = _growth if args.growth else _compare if args.compare else _bench
    result = measure(args, stage, options, Console(highlight=False))
    if args.json:
        import json

        from ..io.write import write_atomic

        text = json.dumps(dict(config=args.config, stage=stage.name, **result), indent=1) + '\n'
        write_atomic(text.encode(), args.json)


def _bench(args: argparse.Namespace, stage, options, console) -> dict:
    from ..report.bench import bench_lines, bench_table
    from ..run.bench import bench_stage
    from ..run.stopwatch import first_iteration

    result = bench_stage(stage, options, args.guide)
    if args.start:
        words = [args.config, *(['--cfg-options', *args.cfg_options] if args.cfg_options else [])]
        result['first_iteration'] = first_iteration(words)
    console.print(bench_table(f'{args.config}, stage {stage.name}', result))
    for line in bench_lines(result):
        console.print(line, markup=False)
    return result


def _compare(args: argparse.Namespace, stage, options, console) -> dict:
    from ..report.bench import options_table
    from ..run.bench import compare_options

    result = compare_options(stage, options, args.guide)
    console.print(options_table(f'{args.config}, stage {stage.name}', result))
    return result


def _growth(args: argparse.Namespace, stage, options, console) -> dict:
    from ..report.growth import growth_table, plot_growth
    from ..run.growth import measure_growth

    result = measure_growth(stage, options)
    console.print(growth_table(result))
    plot_growth(result, args.growth)
    console.print(f'picture: {args.growth}', markup=False)
    return result
