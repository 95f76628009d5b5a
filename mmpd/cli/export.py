"""Export a student to ONNX, compare the file with PyTorch on real images, and write a folder that describes itself.

mmpd export work_dirs/pd_voc/student
mmpd export configs/pd_voc.py --checkpoint work_dirs/pd_voc/student/student_best.pth --out deploy
The folder holds <name>.onnx, weights, deploy.py and deploy.json: `mmpd infer FOLDER IMAGE...` needs nothing else.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import ConfigError
from .arguments import add_options, config_path, options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('model', help='the folder of a finished stage; or, with --checkpoint, a config')
    parser.add_argument('--checkpoint', help="weights, instead of the stage folder's own")
    parser.add_argument('--stage', help='another stage of a chain config than its student')
    parser.add_argument('--out', help='folder to write (default: <stage folder>/deploy, or ./deploy)')
    parser.add_argument(
        '--images',
        nargs='+',
        metavar='IMAGE',
        help="images to compare on (default: the first 50 of the test set that the model's config names)",
    )
    parser.add_argument('--fixed', action='store_true', help='one image at a time, of one size (Swin needs it)')
    parser.add_argument('--int8', action='store_true', help='a quantised file as well, with its AP beside that of fp32')
    parser.add_argument(
        '--pack',
        action='store_true',
        help='a file of a quarter of the size as well: weights in 8 bits, computed in fp32',
    )
    parser.add_argument(
        '--openvino', action='store_true', help='an .xml file for OpenVINO as well, checked in the same way'
    )
    parser.add_argument('--no-simplify', action='store_true', help='leave the graph as torch exports it')
    add_options(parser)


def run(args: argparse.Namespace) -> None:
    """Export and say what was checked."""
    model = Path(args.model) if Path(args.model).is_dir() else config_path(args.model)
    for image in args.images or []:
        if not Path(image).is_file():
            raise ConfigError(f'--images {image}: no such file; name the image files, FOLDER/*.jpg')
    from mmengine.logging import MMLogger
    from rich.console import Console

    from .. import register  # noqa: F401
    from ..io.deploy_folder import find_source
    from ..io.export import export
    from ..io.onnx_file import OPSET
    from ..io.pack import pack_weights
    from ..io.quantise import quantise, side_by_side, training_images
    from ..report.deploy import export_table, precision_table

    MMLogger.get_instance('export', log_level='WARNING')
    source = find_source(model, args.checkpoint, args.stage, options(args.cfg_options))
    calibration = training_images(source) if args.int8 else []  # a source without them is refused before the export
    beside = model if model.is_dir() else Path()
    simplify, target = not args.no_simplify, args.out or beside / 'deploy'
    result = export(source, target, args.images, args.fixed, simplify, args.openvino)
    console = Console(highlight=False, soft_wrap=True)
    size = result.onnx.stat().st_size / 2**20
    console.print(f'{result.onnx}: {size:.1f} MB, opset {OPSET}, preprocessing and NMS inside', markup=False)
    if result.left_out:
        console.print(f'{result.left_out} images do not fit into its one size and are left out')
    console.print(f'same as PyTorch: {result.agreement}', markup=False)
    console.print(f'in batches of two sizes: {result.batch}', markup=False)
    if result.openvino:
        file, single, batch = result.openvino
        console.print(f'{file}: OpenVINO, the same graph. One by one: {single}; in batches: {batch}', markup=False)
    console.print(export_table(result.latencies))
    others = {}
    if args.int8:
        others['int8'] = quantise(source, result, calibration)
    if args.pack:
        others['packed'] = result.onnx.with_suffix('.packed.onnx')
        pack_weights(result.onnx, others['packed'])
    if others:
        console.print(precision_table(side_by_side(source, result, others)))
