"""What the networks of a chain cost, and which one to take within a budget.

mmpd cost configs/pd_voc.py                                        parameters, MACs, activation memory, bytes
mmpd cost configs/pd_voc.py --ratio 2 4 --time cpu onnx --csv costs.csv
mmpd cost configs/pd_bccd.py --results docs/results/bccd_ratio4 --time onnx --budget latency=20ms,bytes=8k
MACs are multiply-adds (mmdet prints them as FLOPs) up to the raw head outputs; activations are the most bytes alive at
once in fp32; times are of one image on this machine, to boxes; bytes are means over real images at the network's size.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from ..errors import ConfigError, DataError
from .arguments import add_options, check_counts, config_path, options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('config', nargs='+', help='chain configs, or the config of one network with a test set')
    parser.add_argument('--ratio', nargs='+', default=[], help="other ratios than the chain's, e.g. 2 4 3/2")
    parser.add_argument('--pyramid', nargs='+', choices=['fine', 'cheap'], default=[], help='default: both')
    parser.add_argument('--size', nargs=2, type=int, metavar=('WIDTH', 'HEIGHT'), help='image size of a single network')
    parser.add_argument(
        '--time', nargs='+', choices=['cpu', 'cuda', 'onnx'], default=[], help='measure latency in these runtimes'
    )
    parser.add_argument('--repeats', type=int, default=30, help='timed runs of each (%(default)s)')
    parser.add_argument('--threads', type=int, help='CPU threads of the timed runs; default: what torch takes')
    parser.add_argument('--images', nargs='+', default=[], help="images, folders, globs; default: the chain's test set")
    parser.add_argument('--most-images', type=int, default=50, help='encode at most so many (%(default)s)')
    parser.add_argument(
        '--encode', nargs='+', default=['jpeg:90', 'webp:80', 'raw'], help='codecs with their quality (%(default)s)'
    )
    parser.add_argument('--results', nargs='+', default=[], help='folders of an ablation, with <row>_seed<n>.json')
    parser.add_argument('--split', choices=['val', 'test'], default='test', help='of the results (%(default)s)')
    parser.add_argument('--metric', default='AP', help='of the results (%(default)s)')
    parser.add_argument('--budget', help='with --results: e.g. latency=20ms,bytes=8k,macs=5G,params=4M,memory=10M')
    parser.add_argument('--csv', help='write the costs into this file')
    parser.add_argument('--json', help='write costs, accuracies and the answer into this file')
    parser.add_argument('--plot', help='with --results: accuracy against each cost, a .png file')
    add_options(parser)


def run(args: argparse.Namespace) -> None:
    from ..evaluation.budget import parse_budget
    from ..evaluation.encoded import parse_codec

    limits = parse_budget(args.budget) if args.budget else {}
    check_counts(args, 'repeats', 'threads', 'most_images')
    if args.size and min(args.size) < 1:
        raise ConfigError(f'--size {args.size[0]} {args.size[1]}: give width and height in pixels')
    for codec in args.encode:
        parse_codec(codec)
    for option in ('budget', 'plot'):
        if getattr(args, option) and not args.results:
            raise ConfigError(f'--{option} needs accuracies: give --results, the folder of an ablation')
    from mmengine.logging import MMLogger
    from rich.console import Console

    from .. import register  # noqa: F401  (first: it keeps quiet what the hosts print when they are imported)
    from ..evaluation.timing import busy
    from ..report.cost import study_table

    MMLogger.get_instance('cost', log_level='WARNING')
    results = _results(args)

    console = Console(highlight=False, width=None if sys.stdout.isatty() else 140)
    notes: list[str] = []
    entries = [entry for name in args.config for entry in _entries(args, name, results, notes)]
    if not entries:
        raise ConfigError('; '.join(notes))
    disturbed = busy() if args.time else None
    notes += [disturbed] if disturbed else []
    threads = f', {next(iter(entries[0].timings.values())).threads} CPU thread(s)' if args.time else ''
    console.print(study_table(entries, f'cost of one image{threads}'))
    report: dict[str, Any] = _write_costs(args, entries)
    if args.results:
        _answer(args, console, entries, results, limits, report, notes)
    for note in notes:
        console.print(note, markup=False)
    if args.json:
        _write_json(report, args.json)


def _results(args: argparse.Namespace) -> list[dict]:
    from pathlib import Path

    from ..ablate.run import read_results

    found = [result for folder in args.results for result in read_results(Path(folder))]
    if args.results and not found:
        raise DataError(f'--results {args.results}: no <row>_seed<n>.json there')
    return found


def _entries(args: argparse.Namespace, name: str, results: list[dict], notes: list[str]) -> list:
    """Measure every network of one config."""
    import torch

    from ..chain.chain import is_chain, read_chain
    from ..data.reduction import parse_ratio
    from ..evaluation.cost import candidates
    from ..evaluation.cost_study import measure_bytes, measure_candidates, ratios_of
    from ..evaluation.measure import read_config
    from ..runtime.inputs import find_inputs

    config = read_config(config_path(name), options(args.cfg_options))
    threads = args.threads or torch.get_num_threads()
    of_the_other = ['size'] if is_chain(config) else ['ratio', 'pyramid', 'images']
    for option in of_the_other:
        if getattr(args, option):
            kind, other = ('a chain', 'one network') if is_chain(config) else ('one network', 'a chain')
            raise ConfigError(f'--{option} is for the config of {other}, and {name} is {kind}: leave it out')
    if not is_chain(config):
        return measure_candidates([_single(config, args.size)], args.time, threads, args.repeats)
    chain = read_chain(config)
    if args.time and config.get('task', 'detection') != 'detection':
        raise ConfigError(f'--time is for detectors, and {name} is of the task {config.task}')
    ratios = [parse_ratio(ratio) for ratio in args.ratio] or ratios_of(results, chain)
    found, impossible = candidates(chain, ratios, args.pyramid)
    notes += [f'left out: {reason}' for reason in impossible]
    entries = measure_candidates(found, args.time, threads, args.repeats)
    uncounted = sorted({operator for entry in entries for operator in entry.cost.uncounted})
    if uncounted:
        notes.append(f'Not counted in the MACs, though not cheap: {", ".join(uncounted)}')
    images = (
        list(find_inputs(args.images).files)[: args.most_images] if args.images else _own_images(args, chain, notes)
    )
    if args.images and not images:
        raise DataError(f'--images {args.images}: no image there')
    if images:
        measure_bytes(entries, chain, images, args.encode)
        notes.append(f'{chain.name}: bytes are means over {len(images)} images, the first {args.encode[0]}')
    return entries


def _own_images(args: argparse.Namespace, chain: Any, notes: list[str]) -> list:
    from ..evaluation.cost_study import chain_images

    try:
        return list(chain_images(chain, args.most_images))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:  # no data here, or of another task
        notes.append(f'{chain.name}: bytes not measured, its test set cannot be read ({error}); give --images')
        return []


def _single(config: Any, size: list[int] | None) -> Any:
    from fractions import Fraction

    from mmengine.registry import init_default_scope

    from ..evaluation.cost import Candidate, size_of
    from ..evaluation.measure import network_of

    network = network_of(config)
    init_default_scope(config.get('default_scope', 'mmdet'))
    width_height = (size[0], size[1]) if size else size_of(network)
    return Candidate(network.name, network.name, Fraction(1), '', width_height, network.config.model)


def _write_costs(args: argparse.Namespace, entries: list) -> dict[str, Any]:
    import csv
    import io

    from ..evaluation.cost_study import cost_rows
    from ..io.write import write_atomic

    rows = cost_rows(entries)
    if args.csv:
        text = io.StringIO()
        keys = dict.fromkeys(key for row in rows for key in row)
        writer = csv.DictWriter(text, list(keys), lineterminator='\n')
        writer.writeheader()
        writer.writerows(rows)
        write_atomic(text.getvalue().encode(), args.csv)
    return dict(costs=rows)


def _answer(
    args: argparse.Namespace, console: Any, entries: list, results: list[dict], limits: dict, report: dict, notes: list
) -> None:
    import dataclasses

    from ..evaluation.budget import within
    from ..evaluation.cost_study import join_results
    from ..report.cost import accuracy_table, answer_text, front_names, plot_costs

    scored, left_out = join_results(entries, results, args.split, args.metric)
    notes += [f'left out: {reason}' for reason in left_out]
    console.print(accuracy_table(scored, args.metric, args.split, list(limits)))
    fronts = front_names(scored)
    report['accuracies'] = [dict(dataclasses.asdict(one), front=fronts[one.label]) for one in scored]
    if args.plot:
        plot_costs(scored, args.metric, args.split, args.plot)
        console.print(f'picture: {args.plot}', markup=False)
    if limits:
        answer = within(scored, limits)
        console.print(answer_text(answer, limits), markup=False)
        report['budget'] = dict(
            limits=limits,
            best=answer.best and answer.best.label,
            binding={name: one.label for name, one in answer.binding.items()},
        )


def _write_json(report: dict, path: str) -> None:
    import json

    from ..io.write import write_atomic

    write_atomic(json.dumps(report, indent=1, ensure_ascii=False).encode(), path)
