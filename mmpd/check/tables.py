"""The preflight's report as tables."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ..chain.chain import Chain
from .finding import StageCheck
from .guide import measure_oracle


def print_checks(checks: Sequence[StageCheck], console: Console) -> None:
    """Every stage: data, pyramids and who lines up with whom, losses, findings; then a line that says how it ended."""
    for check in checks:
        console.rule(f'stage {check.name}, ratio {check.ratio}')
        _print_data(check, console)
        for who in check.levels:
            console.print(_level_table(check, who))
        for low, high, share in check.gaps:
            console.print(
                f'no student level fits {_sizes(low, high)} HR pixels, a guide level does: {share:.0%} of the boxes'
            )
        if check.oracle is not None:
            console.print(escape(str(check.oracle)), soft_wrap=True)
        elif 'guide' in check.levels:
            console.print('an oracle guide: not measured, an assigner needs predictions or the head is unknown')
        for adapter in check.adapters:
            console.print(f'learned 1×1 adapter, dropped at deployment: {adapter}')
        if check.losses:
            console.print(_loss_table(check))
        print_findings(check, console)
    errors = sum(len(check.errors) for check in checks)
    warnings = sum(len(check.findings) for check in checks) - errors
    style = 'red' if errors else 'green'
    console.print(f'[bold {style}]{errors} errors, {warnings} warnings in {len(checks)} stages')


def print_oracle(chains: Iterable[Chain], console: Console) -> None:
    """The oracle table of every stage that has a guide and LR images, of one chain at several ratios."""
    table = Table(title='an oracle guide through the alignment', title_justify='left')
    for header in ('stage', 'ratio', 'plan', 'received', 'in conflict', 'objects not heard of', 'bar'):
        table.add_column(header, justify='right')
    for chain in chains:
        for stage in (stage for stage in chain.stages.values() if stage.size == 'lr' and stage.guide):
            plan, found = measure_oracle(stage)
            cells = ['not measured'] + [''] * 3
            if found:
                shares = (f'{share:.1%}' for share in (found.received_share, found.conflict_share))
                cells = [*shares, f'{found.lost} of {found.objects}', 'passed' if found.passed else 'missed']
            table.add_row(stage.name, str(chain.ratio), plan, *cells)
    console.print(table)


def print_findings(check: StageCheck, console: Console) -> None:
    """One line per finding."""
    for finding in check.findings:
        label = '[bold red]error[/]' if finding.error else '[bold yellow]warning[/]'
        console.print(f'{label} {escape(str(finding))}', soft_wrap=True)


def _print_data(check: StageCheck, console: Console) -> None:
    for line in check.data:
        console.print(f'data {escape(line)}', soft_wrap=True)
    if check.tiny:
        share = check.tiny / check.boxes
        console.print(f'{check.tiny} boxes ({share:.1%}) have a side below one pixel of this network')
    if check.below_cell:
        share = check.below_cell / check.boxes
        console.print(f'{check.below_cell} boxes ({share:.1%}) have a side below one cell of its finest level')


def _level_table(check: StageCheck, who: str) -> Table:
    """Fits 80 characters; `anchors` is the range of their sides, in pixels of this network."""
    paired, counted = len(check.levels) > 1, who == 'student'
    title = {'student': 'trained network', 'guide': 'guide'}[who]
    height, width = check.inputs.get(who, (0, 0))
    table = Table(
        title=f'{title}, {width} × {height} pixels' if width else title,
        title_justify='left',
        box=box.SIMPLE_HEAD,
        show_edge=False,
        padding=0,
    )
    headers = ['level', 'stride', 'grid', 'channels', 'anchors', 'fits (HR)', 'boxes']
    for header in headers + ['positives'] * counted + ['lines up with'] * paired:
        table.add_column(header, justify='left' if header == 'lines up with' else 'right')
    for index, row in enumerate(check.levels[who]):
        sides = [math.sqrt(w * h) for w, h in row.level.anchors]
        anchors = _sizes(min(sides), max(sides)) if sides else 'points'
        grid = '×'.join(str(math.ceil(side / row.level.stride)) for side in (width, height))
        cells = [index, f'{row.level.stride:g}', grid, row.channels, anchors, _sizes(*row.sizes), f'{row.share:.0%}']
        if counted:
            cells.append('–' if row.positives is None else f'{row.positives:.1%}' if row.positives else 'none')
        table.add_row(*map(str, cells), *([row.partner or 'nothing, masked'] if paired else []))
    return table


def _sizes(low: float, high: float) -> str:
    return f'{low:.0f}–{high:.0f}' if math.isfinite(high) else f'from {low:.0f}'


def _loss_table(check: StageCheck) -> Table:
    table = Table(title='first step on real images', title_justify='left')
    for header in ('loss', 'of', 'value', 'gradient norm at the network'):
        table.add_column(header, justify='left' if header in ('loss', 'of') else 'right')
    for row in check.losses:
        table.add_row(
            row.name, f'terms.{row.term}' if row.term else 'its own head', f'{row.value:.4g}', f'{row.gradient:.4g}'
        )
    return table
