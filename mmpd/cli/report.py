"""One page of what a chain or an ablation came to: report.html, which needs no network, and report.json.

mmpd report work_dirs/pd_voc
mmpd report work_dirs/ablate_pd_bccd --split val
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import ConfigError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('work_dir', help='the --work-dir of mmpd train, or of mmpd ablate')
    parser.add_argument('--split', choices=['test', 'val'], default='test')
    parser.add_argument('--out', help='the html file; default WORK_DIR/report.html')


def run(args: argparse.Namespace) -> None:
    if not Path(args.work_dir).is_dir():
        raise ConfigError(f'WORK_DIR = {args.work_dir!r}: no such folder')
    from mmengine.logging import MMLogger

    from .. import register  # noqa: F401
    from ..report.page import write_page

    MMLogger.get_instance('report', log_level='WARNING')
    print(f'{write_page(args.work_dir, args.split, args.out)} written')
