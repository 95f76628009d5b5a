"""Draw crops of a super-resolution chain: bicubic, student, teacher, HR; where the student gains least, then most.

python tools/sr_gallery.py configs/sr/dukd_edsr_small_x2.py work_dirs/dukd_edsr_small_x2 data/sr/Set14 --out gallery.png
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import mmpd  # noqa: F401  (stands in for mmcv's operators before mmdet is imported)
from mmengine.config import DictAction

from mmpd.cli import main_with_errors


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='a chain config of the sr task')
    parser.add_argument('work_dir', help='folder of its finished stages')
    parser.add_argument('images', nargs='+', help='HR image files, and folders of them')
    parser.add_argument('--stages', nargs=2, default=['student', 'teacher'], help='columns 2 and 3 (%(default)s)')
    parser.add_argument('--rows', type=int, default=3, help='crops of each kind (%(default)s)')
    parser.add_argument('--side', type=int, default=64, help='of a crop in HR pixels (%(default)s)')
    parser.add_argument('--out', default='gallery.png')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={}, help='key=value pairs merged in')
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    from mmpd.evaluation.measure import read_config
    from mmpd.runtime.inputs import find_inputs
    from mmpd.sr.gallery import crops_of, draw_gallery, finished_networks, worst_and_best

    config = read_config(args.config, args.cfg_options)
    networks = finished_networks(config, Path(args.work_dir), args.stages)
    operator = config.get('reduction', 'area')
    crops = crops_of(find_inputs(args.images).files, networks, networks[0].scale, operator, args.side)
    draw_gallery(worst_and_best(crops, args.rows), ['bicubic', *args.stages, 'HR'], args.out)
    print(f'{args.out}: {len(crops)} crops looked at')


if __name__ == '__main__':
    main_with_errors(main)
