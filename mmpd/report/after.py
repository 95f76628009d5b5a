"""The report at the end of a chain or of an ablation: it comes by itself, and never makes a finished run fail."""

from __future__ import annotations

from pathlib import Path

from mmengine.dist import is_distributed
from rich.console import Console

from .page import write_page


def report_after(work_dir: str | Path, split: str, console: Console, results: str | Path | None = None) -> None:
    """Write `report.html` where a stage was finished since it was last written, and say so, or why there is none.

    Networks that were not measured on `split` yet are measured now.

    Args:
        results: folder with the JSON of an ablation's rows; default `<work_dir>/results`.
    """
    page = Path(work_dir) / 'report.html'
    if is_distributed():  # the other processes are not here to measure with
        console.print(f'mmpd report {work_dir} makes a page of this', markup=False)
        return
    try:
        done = [file.stat().st_mtime for file in Path(work_dir).glob('**/done.json')]
        if page.is_file() and done and page.stat().st_mtime > max(done):
            return
        console.print(f'{write_page(work_dir, split, results=results)} written', markup=False)
    except Exception as error:  # whatever it is: hours of training are done, and `mmpd report` shows it in full
        console.print(f'no report ({type(error).__name__}: {error}); try: mmpd report {work_dir}', markup=False)
