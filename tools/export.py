"""Export a student to ONNX: see mmpd/commands/export.py, or --help."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import mmpd  # noqa: F401  (stands in for mmcv's operators before mmdet is imported)
from mmpd.cli import main_with_errors
from mmpd.commands.export import parse_args, run


def main(argv: list[str] | None = None) -> None:
    run(parse_args(argv))


if __name__ == '__main__':
    main_with_errors(main)
