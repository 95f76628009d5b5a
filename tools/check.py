"""Check a chain before training it: `mmpd check` from a checkout."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mmpd.cli import command, tool

main = command('check')

if __name__ == '__main__':
    tool('check')
