"""Draw what a network finds on images; each picture goes to OUT_DIR/<image name>.png.

python tools/infer.py work_dirs/pd_voc/student/deploy.py work_dirs/pd_voc/student/student_best.pth lr/*.jpg
Give deploy.py native LR images. bench.py or the chain's config takes HR images and reduces them first.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import mmpd  # noqa: F401  (stands in for mmcv's operators before mmdet is imported)
import mmcv
from mmengine.config import DictAction
from rich.console import Console

from mmpd.cli import main_with_errors
from mmpd.evaluation.measure import check_pixels, network_of, read_config
from mmpd.report.pictures import draw_image
from mmpd.evaluation.predict import Predictor


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help="deploy.py, bench.py, a stage's config, or a chain config (its student)")
    parser.add_argument('checkpoint', help='plain weights (student_best.pth) or a Runner checkpoint (epoch_N.pth)')
    parser.add_argument('images', nargs='+', help='image files')
    parser.add_argument('--out-dir', default='work_dirs/infer', help='folder of the pictures (%(default)s)')
    parser.add_argument('--score', type=float, default=0.3, help='least confidence of a drawn box (%(default)s)')
    parser.add_argument('--stage', help='another stage of the chain')
    parser.add_argument('--device', help="'cpu', 'cuda:0', …; default: a GPU where there is one")
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={}, help='key=value pairs merged in')
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    console = Console(highlight=False, soft_wrap=True)
    config = read_config(args.config, args.cfg_options)
    network = network_of(config, args.stage)
    check_pixels(config, network, args.checkpoint)
    predictor = Predictor(network, args.checkpoint, args.device)
    out_dir = Path(args.out_dir)
    out_dir.mkdir(parents=True, exist_ok=True)
    for image in args.images:
        found = predictor(image)
        target = out_dir / f'{Path(image).stem}.png'
        count = draw_image(mmcv.imread(image, channel_order='rgb'), found, predictor.classes, target, args.score)
        height, width = found.seen.shape[:2]
        console.print(f'{target}: {count} boxes, seen at {width}×{height}', markup=False)


if __name__ == '__main__':
    main_with_errors(main)
