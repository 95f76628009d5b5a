"""What the networks of a chain cost: `mmpd cost` from a checkout."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mmpd.cli import command, tool

main = command('cost')

if __name__ == '__main__':
    tool('cost')
