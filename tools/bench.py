"""What a distillation step costs beside its parts: `mmpd bench` from a checkout."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mmpd.cli import command, tool

main = command('bench')

if __name__ == '__main__':
    tool('bench')
