"""Export a student to ONNX, compare the file with PyTorch on real images, and write a folder that describes itself.

python tools/export.py work_dirs/pd_voc/student
python tools/export.py configs/pd_voc.py --checkpoint work_dirs/pd_voc/student/student_best.pth --out deploy
The folder holds <name>.onnx, weights, deploy.py and deploy.json; `tools/infer.py FOLDER IMAGE...` needs nothing else.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ..io.deploy_folder import find_source
from ..io.export import CHECK_IMAGES, OPSET, Exported, export


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog='export', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('model', help='the folder of a finished stage; or, with --checkpoint, a config')
    parser.add_argument('--checkpoint', help="weights, instead of the stage folder's own")
    parser.add_argument('--stage', help='another stage of a chain config than its student')
    parser.add_argument('--out', help='folder to write (default: <stage folder>/deploy, or ./deploy)')
    parser.add_argument(
        '--images',
        nargs='+',
        metavar='IMAGE',
        help=f"images to compare on (default: the first {CHECK_IMAGES} of the test set that the model's config names)",
    )
    parser.add_argument('--fixed', action='store_true', help='one image at a time, of one size (Swin needs it)')
    parser.add_argument('--no-simplify', action='store_true', help='leave the graph as torch exports it')
    return parser.parse_args(argv)


def run(args: argparse.Namespace) -> Exported:
    """Export and say what was checked."""
    console = Console(highlight=False, soft_wrap=True)
    source = find_source(args.model, args.checkpoint, args.stage)
    beside = Path(args.model) if Path(args.model).is_dir() else Path()
    result = export(source, args.out or beside / 'deploy', args.images, args.fixed, not args.no_simplify)
    size = result.onnx.stat().st_size / 2**20
    console.print(f'{result.onnx}: {size:.1f} MB, opset {OPSET}, preprocessing and NMS inside', markup=False)
    console.print(f'same as PyTorch: {result.agreement}', markup=False)
    console.print(f'in batches of two sizes: {result.batch}', markup=False)
    table = Table(title=escape(f'one image, {result.latencies[0].threads} CPU thread(s), without reading the file'))
    for column in ('', 'median ms', 'p95 ms', 'runs'):
        table.add_column(column, justify='right' if column else 'left')
    for one in result.latencies:
        table.add_row(one.name, f'{one.median:.1f}', f'{one.p95:.1f}', str(one.images))
    console.print(table)
    return result
