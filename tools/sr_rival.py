"""Super-resolution and an HR detector against the LR student: `mmpd sr rival` from a checkout."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mmpd.cli import command, main_with_errors


def main(argv: list[str] | None = None) -> int:
    return command('sr')(['rival', *(sys.argv[1:] if argv is None else argv)])


if __name__ == '__main__':
    main_with_errors(main)
