"""Turn an old checkpoint with code in it into plain data: python tools/convert_checkpoint.py OLD NEW --trust."""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import mmpd  # noqa: F401  (before mmdet: installs the operators that a pickled detector needs)
from mmpd.io.convert import convert_trusted
from mmpd.errors import CheckpointError


def main() -> int:
    """Exit status 0 when NEW was written."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('old', help='a checkpoint from a source you trust')
    parser.add_argument('new', help='where the data-only checkpoint goes')
    parser.add_argument('--trust', action='store_true', help='I trust OLD: whatever code it contains may run')
    args = parser.parse_args()
    if not args.trust:
        parser.error(f'reading {args.old} runs the code in it; add --trust if you know where it comes from')
    try:
        dropped = convert_trusted(args.old, args.new)
    except CheckpointError as error:
        print(error, file=sys.stderr)
        return 1
    print(f'{args.new} written; left out: {", ".join(dropped) or "nothing"}')
    return 0


if __name__ == '__main__':
    sys.exit(main())
