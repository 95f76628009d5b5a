"""What a finished super-resolution stage is worth: a picture, an int8 copy, its race against an LR detector.

mmpd sr gallery configs/sr/dukd_edsr_small_x2.py work_dirs/dukd_edsr_small_x2 data/sr/Set14 --out gallery.png
mmpd sr quantise configs/sr/dukd_edsr_small_x2.py work_dirs/dukd_edsr_small_x2
mmpd sr rival configs/pd_bccd.py work_dirs/pd_bccd/assistant work_dirs/pd_bccd/student work_dirs/sr/student
mmpd sr ACTION --help says more. Training, testing and upscaling are mmpd train, test and infer, as for every task.
"""

from __future__ import annotations

import argparse

from ..errors import DataError
from .arguments import add_options, check_counts, read

_ACTIONS = {
    'gallery': 'crops side by side: bicubic, student, teacher, HR, where the student gains least and most over bicubic',
    'quantise': 'an EDSR stage in int8: PSNR on the test sets, size, time of a 240×160 LR image, before and after',
    'rival': 'LR image → super-resolution → HR detector against the LR student: AP, parameters, MACs, time',
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest='action', required=True, metavar='ACTION')
    parsers = {name: actions.add_parser(name, help=text, description=text) for name, text in _ACTIONS.items()}
    for name in ('gallery', 'quantise'):
        parsers[name].add_argument('config', help='a chain config of the sr task')
        parsers[name].add_argument('work_dir', help='folder of its finished stages')
    gallery, quantise, rival = parsers.values()
    gallery.add_argument('images', nargs='+', help='HR image files, and folders of them')
    gallery.add_argument('--stages', nargs=2, default=['student', 'teacher'], help='columns 2 and 3 (%(default)s)')
    gallery.add_argument('--rows', type=int, default=3, help='crops of each kind (%(default)s)')
    gallery.add_argument('--side', type=int, default=64, help='of a crop in HR pixels (%(default)s)')
    gallery.add_argument('--out', default='gallery.png')
    quantise.add_argument('--stage', default='student')
    quantise.add_argument('--patches', type=int, default=64, help='training patches for calibration (%(default)s)')
    quantise.add_argument('--out', help='write the rows into this .json file as well')
    rival.add_argument('config', help='a detection chain')
    rival.add_argument('hr', help='folder of a finished HR stage of it')
    rival.add_argument('lr', help='folder of a finished LR stage of it')
    rival.add_argument(
        'sr',
        nargs='+',
        help="folders of finished sr stages: of the chain's ratio, best trained with its reduction, on its images",
    )
    rival.add_argument('--split', choices=['test', 'val'], default='test')
    rival.add_argument('--out', help='write the rows into this .json file as well')
    for each in parsers.values():
        add_options(each)


def run(args: argparse.Namespace) -> None:
    {'gallery': _gallery, 'quantise': _quantise, 'rival': _rival}[args.action](args)


def _gallery(args: argparse.Namespace) -> None:
    check_counts(args, 'rows', 'side')
    config = read(args)
    from pathlib import Path

    from ..runtime.inputs import find_inputs
    from ..sr.gallery import crops_of, draw_gallery, finished_networks, worst_and_best

    inputs = find_inputs(args.images)
    if inputs.problems:
        raise DataError('; '.join(inputs.problems))
    networks = finished_networks(config, Path(args.work_dir), args.stages)
    operator = config.get('reduction', 'area')
    crops = crops_of(inputs.files, networks, networks[0].scale, operator, args.side)
    draw_gallery(worst_and_best(crops, args.rows), ['bicubic', *args.stages, 'HR'], args.out)
    print(f'{args.out}: {len(crops)} crops looked at')


def _quantise(args: argparse.Namespace) -> None:
    check_counts(args, 'patches')
    config = read(args)
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from ..evaluation.timing import busy
    from ..sr.quantise import compare

    rows = compare(config, args.work_dir, args.stage, args.patches)
    sets = list(rows[0].psnr)
    table = Table(
        'weights', *(f'{name} PSNR_Y' for name in sets), 'KiB', 'ms', title=escape(f'{args.stage}, {args.work_dir}')
    )
    for row in rows:
        scores = (f'{row.psnr[name]:.2f}' for name in sets)
        table.add_row(row.label, *scores, f'{row.bytes / 1024:.0f}', f'{1000 * row.seconds:.1f}')
    console = Console(highlight=False)
    console.print(table)
    _write(args.out, rows)
    if disturbed := busy():
        console.print(disturbed, markup=False)


def _rival(args: argparse.Namespace) -> None:
    config = read(args)
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from ..chain.chain import read_chain
    from ..evaluation.timing import busy
    from ..io.deploy_folder import find_source
    from ..report.tables import count_text
    from ..sr.rival import compare

    chain = read_chain(config)
    rows = compare(chain, find_source(args.hr), find_source(args.lr), args.sr, args.split)
    table = Table('network', 'AP50', 'AP', 'params', 'MACs', 'ms', title=escape(f'{chain.name}, ratio {chain.ratio}'))
    for row in rows:
        shown = (f'{row.ap50:.3f}', f'{row.ap:.3f}', count_text(row.params), count_text(row.macs))
        table.add_row(row.label, *shown, f'{1000 * row.seconds:.0f}')
    console = Console(highlight=False)
    console.print(table)
    _write(args.out, rows)
    if disturbed := busy():
        console.print(disturbed, markup=False)


def _write(path: str | None, rows: list) -> None:
    """Rows (dataclasses) as a .json file, where one is asked for."""
    if path is None:
        return
    import json
    from dataclasses import asdict

    from ..io.write import write_atomic

    write_atomic(json.dumps([asdict(row) for row in rows], indent=1, ensure_ascii=False).encode(), path)
