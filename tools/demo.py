"""Train teacher, assistant and student on a small drawn set and compare them with an undistilled student.

python tools/demo.py
A second call goes on where the first one was cut, and shows the result again when it is finished.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from mmengine.config import DictAction
from rich.console import Console


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--work-dir', default='work_dirs/demo', help='where everything goes (%(default)s)')
    parser.add_argument(
        '--cfg-options', nargs='+', action=DictAction, default={}, help='key=value pairs merged into configs/pd_demo.py'
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    log = Path(args.work_dir) / 'demo.log'
    log.parent.mkdir(parents=True, exist_ok=True)
    console = Console(file=sys.stdout, highlight=False)
    console.print(
        '[bold]mmpd[/bold] demo: HR teacher → HR assistant → LR student, and the same student without them\n'
        f'[bold]mmpd[/bold] the training log goes to {log}',
        soft_wrap=True,
    )
    with quiet(log):  # the libraries speak while they are imported already
        import mmpd  # noqa: F401  (stands in for mmcv's operators before mmdet is imported)
        from mmpd.demo import run as demo
        from mmpd.cli import main_with_errors

    def run() -> None:
        with quiet(log):
            demo.run(ROOT / 'configs' / 'pd_demo.py', args.work_dir, args.cfg_options, console)

    main_with_errors(run)


@contextmanager
def quiet(log: Path) -> Iterator[None]:
    """Append all output to `log`; an error that leaves the block is shown."""
    with open(log, 'a', encoding='utf-8') as file, redirect_stdout(file), redirect_stderr(file):
        yield


if __name__ == '__main__':
    main()
