"""Turn an old checkpoint with code in it into plain data: `mmpd convert` from a checkout."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mmpd.cli import command, tool

main = command('convert')

if __name__ == '__main__':
    tool('convert')
