"""Quantise a finished EDSR stage to int8 and compare: PSNR on the test sets, size, time of a 240×160 LR image.

python tools/sr_quantise.py configs/sr/dukd_edsr_small_x2.py work_dirs/dukd_edsr_small_x2
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import mmpd  # noqa: F401  (stands in for mmcv's operators before mmdet is imported)
from mmengine.config import DictAction
from rich.console import Console
from rich.table import Table

from mmpd.cli import main_with_errors


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config', help='a chain config of the sr task')
    parser.add_argument('work_dir', help='folder of its finished stages')
    parser.add_argument('--stage', default='student')
    parser.add_argument('--patches', type=int, default=64, help='training patches for calibration (%(default)s)')
    parser.add_argument('--cfg-options', nargs='+', action=DictAction, default={}, help='key=value pairs merged in')
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    import torch
    from mmdet.registry import DATASETS
    from mmengine.registry import DefaultScope

    from mmpd.chain.chain import read_chain
    from mmpd.chain.stage_config import stage_config
    from mmpd.evaluation.measure import read_config
    from mmpd.sr.gallery import finished_networks
    from mmpd.sr.quantise import psnr_by_set, quantise, seconds_per_image, stored_bytes

    config = read_config(args.config, args.cfg_options)
    net = finished_networks(config, Path(args.work_dir), [args.stage])[0]
    stage = stage_config(read_chain(config).stage(args.stage), args.work_dir, {})
    with DefaultScope.overwrite_default_scope('mmdet'):
        train, test = (DATASETS.build(stage[f'{split}_dataloader'].dataset) for split in ('train', 'test'))
    inputs = [train[index]['inputs'] for index in range(min(args.patches, len(train)))]
    patches = [image['lr'] if isinstance(image, dict) else image for image in inputs]
    int8 = quantise(net, [net.data_preprocessor(dict(inputs=[patch]))['inputs'] for patch in patches])
    table = Table(title=f'{args.stage}, {args.work_dir}, {torch.get_num_threads()} threads')
    rows = {}
    for name, network in (('float32', net), ('int8', int8)):
        scores = psnr_by_set(network, test)
        milliseconds = 1000 * seconds_per_image(network, torch.rand(1, 3, 160, 240))
        rows[name] = [*(f'{score:.2f}' for score in scores.values())]
        rows[name] += [f'{stored_bytes(network) / 1024:.0f}', f'{milliseconds:.0f}']
    for column in ('weights', *(f'{key} PSNR_Y' for key in scores), 'KiB', 'ms'):
        table.add_column(column, justify='right')
    for name, row in rows.items():
        table.add_row(name, *row)
    Console(highlight=False).print(table)


if __name__ == '__main__':
    main_with_errors(main)
