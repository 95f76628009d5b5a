"""Does distillation pay here? `mmpd ablate` from a checkout."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mmpd.cli import command, tool

main = command('ablate')

if __name__ == '__main__':
    tool('ablate')
