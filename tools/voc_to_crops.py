"""Cut the objects of a VOC-layout set into an image-folder classification set.

Example: python tools/voc_to_crops.py data/VOCdevkit/VOC2007 data/voc-crops --size 96
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mmpd.cli import main_with_errors
from mmpd.cls.voc_crops import CropOptions, convert


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('source', help='folder with Annotations, JPEGImages and ImageSets/Main')
    parser.add_argument('target', help='folder to make; a finished one is left as it is')
    parser.add_argument('--size', type=int, default=CropOptions.size, help='side of the saved images (%(default)s px)')
    parser.add_argument(
        '--context',
        type=float,
        default=CropOptions.context,
        help='side of the crop / longest side of the box (%(default)s)',
    )
    parser.add_argument(
        '--min-side',
        type=int,
        default=CropOptions.min_side,
        help='leave out objects with a shorter longest side (%(default)s px)',
    )
    return parser.parse_args()


def main() -> int:
    args = parse_args()
    result = convert(args.source, args.target, CropOptions(args.size, args.context, args.min_side))
    splits = result['splits']
    width = max(map(len, result['classes']))
    print(f'{"":{width}}' + ''.join(f'{split:>7}' for split in splits))
    for name in result['classes']:
        print(f'{name:{width}}' + ''.join(f'{splits[split]["crops"][name]:7}' for split in splits))
    for split, counts in splits.items():
        left_out = ', '.join(f'{count} {reason}' for reason, count in counts['left_out'].items()) or 'nothing'
        print(
            f'{split}: {sum(counts["crops"].values())} crops from {counts["images"]} images '
            f'({counts["enlarged"]} enlarged, {counts["padded"]} padded); left out: {left_out}'
        )
    return 0


if __name__ == '__main__':
    main_with_errors(main)
