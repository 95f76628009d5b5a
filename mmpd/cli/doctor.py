"""Versions, operators, devices and folders, for bug reports. Exit status 1 where something that mmpd needs is missing.

mmpd doctor
"""

from __future__ import annotations

import argparse
import importlib.metadata
import platform
import tempfile
from pathlib import Path

NEEDED = {
    'torch': ('torch',),
    'torchvision': ('torchvision',),
    'mmengine': ('mmengine', 'onedl-mmengine'),
    'mmcv': ('mmcv', 'mmcv-lite', 'onedl-mmcv'),
    'mmdet': ('mmdet', 'onedl-mmdetection'),
    'pycocotools': ('pycocotools',),
    'numpy': ('numpy',),
    'opencv': ('opencv-python-headless', 'opencv-python'),
}
OPTIONAL = {
    'mmpretrain (classification)': ('mmpretrain', 'onedl-mmpretrain'),
    'timm (mmpd[weights])': ('timm',),
    'onnxruntime (mmpd[export])': ('onnxruntime',),
    'openvino': ('openvino',),
    'tensorboard': ('tensorboard',),
}
"""What is shown → the distributions, by PyPI's names, any of which brings it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--work-dir', default='work_dirs', help='a folder that should be writable (%(default)s)')


def run(args: argparse.Namespace) -> int:
    from .. import __version__

    print(f'mmpd {__version__}, Python {platform.python_version()}, {platform.platform()}')
    missing = [name for name, found in versions(NEEDED).items() if not found]
    for name, found in {**versions(NEEDED), **versions(OPTIONAL)}.items():
        print(f'{name:28} {found or "not installed"}')
    if not missing:
        print(f'{"operators":28} {operators()}')
        print(f'{"devices":28} {devices()}')
    writable = is_writable(Path(args.work_dir))
    print(f'{args.work_dir:28} {"writable" if writable else "NOT writable: choose another --work-dir"}')
    if missing:
        print(f'missing: {", ".join(missing)}; pip install "mmpd[onedl]" brings them')
    return int(bool(missing) or not writable)


def versions(names: dict[str, tuple[str, ...]]) -> dict[str, str | None]:
    """Shown name → 'version (distribution)', or None where no distribution of it is installed."""
    found: dict[str, str | None] = {}
    for shown, distributions in names.items():
        found[shown] = None
        for distribution in distributions:
            try:
                found[shown] = f'{importlib.metadata.version(distribution)} ({distribution})'
                break
            except importlib.metadata.PackageNotFoundError:
                continue
    return found


def operators() -> str:
    from .. import register  # noqa: F401
    from ..compat import mmcv_ops

    if not mmcv_ops.is_active():
        return "mmcv's own compiled operators"
    return "mmpd's stand-ins on torchvision and torch (mmcv brings no compiled operators)"


def devices() -> str:
    import torch

    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return f'{", ".join(names) or "no GPU"}; {torch.get_num_threads()} CPU threads'


def is_writable(folder: Path) -> bool:
    """Whether a file can be made in `folder`, or in the nearest folder above it that exists. Leaves nothing behind."""
    while not folder.exists():
        folder = folder.resolve().parent
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False
