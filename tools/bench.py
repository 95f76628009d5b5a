"""What a distillation step costs beside its parts, the plain student step and the guide's forward: docs/performance.md.

python tools/bench.py configs/pd_bccd.py --guide work_dirs/pd_bccd/assistant/assistant_best.pth
python tools/bench.py configs/pd_voc_gfl.py --batch 2 --threads 2 --amp --channels-last --json bench.json
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import mmpd.register  # noqa: F401  (stands in for mmcv's operators before mmdet is imported)
import torch
from mmengine.config import DictAction
from rich.console import Console
from rich.table import Table

from mmpd.chain.chain import read_chain
from mmpd.cli import main_with_errors
from mmpd.errors import ConfigError
from mmpd.run.bench import BenchOptions, bench_stage
from mmpd.evaluation.measure import read_config


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='a chain config')
    parser.add_argument('--stage', help='a stage with a guide; default the last')
    parser.add_argument('--guide', metavar='CHECKPOINT', help='trained weights of its guide; default random ones')
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--batch', type=int, default=4)
    parser.add_argument('--rounds', type=int, default=15, help='repetitions of every part')
    parser.add_argument('--amp', action='store_true', help='autocast to bfloat16')
    parser.add_argument('--channels-last', action='store_true')
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--json', metavar='FILE', help='write all figures here as well')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={}, help='key=value pairs merged in')
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    chain = read_chain(read_config(args.config, args.cfg_options))
    stage = args.stage or list(chain.stages)[-1]
    if stage not in chain.stages:
        raise ConfigError(f'--stage {stage}: the stages of this chain are {list(chain.stages)}')
    options = BenchOptions(args.threads, args.batch, args.rounds, args.amp, args.channels_last, args.device)
    result = bench_stage(chain.stages[stage], options, args.guide)
    if args.json:
        Path(args.json).write_text(json.dumps(dict(config=args.config, stage=stage, **result), indent=1) + '\n')
    print_bench(f'{args.config}, stage {stage}', result, Console(highlight=False))


def print_bench(title: str, result: dict, console: Console) -> None:
    table = Table(title=f'{title}: milliseconds an image, median [quartiles]', title_justify='left')
    for header in ('part', 'CPU', 'wall', 'peak MiB'):
        table.add_column(header, justify='left' if header == 'part' else 'right')
    for part, times in result['times'].items():
        cells = []
        for key in ('cpu', 'wall'):
            low, high = (1e3 * quartile for quartile in times[f'{key}_quartiles'])
            cells.append(f'{1e3 * times[key]:.1f} [{low:.1f}–{high:.1f}]')
        peak = result['mebibytes'].get(part)
        table.add_row(part, *cells, '' if peak is None else f'{peak:.0f}')
    for name, term in result['terms'].items():
        table.add_row(f'term {name}', f'{1e3 * term["forward"]:.1f} + {1e3 * term["backward"]:.1f} backward', '', '')
    console.print(table)
    console.print(f'step / (student step + guide forward): {result["ratio"]:.3f}')
    console.print(f'memory of the step / (student step + guide outputs): {result["memory_ratio"]:.3f}')
    if 'peer_ratio' in result:
        console.print(f"the same of mmdet's distillation of GFL at one size: {result['peer_ratio']:.3f}")
    loader = result['loader']
    console.print(f'loader: {loader["images_per_second"]:.0f} images a second with {loader["workers"]} workers')
    console.print(', '.join(f'import {name}: {spent:.1f} CPU s' for name, spent in result['import_seconds'].items()))


if __name__ == '__main__':
    main_with_errors(main)
