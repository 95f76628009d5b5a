"""Tables of an export: latencies, and other precisions beside fp32."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from ..io.proof import Latency
from ..io.quantise import Precision


def export_table(latencies: Sequence[Latency]) -> Table:
    """Median and 95th percentile of single images."""
    table = Table(title=f'one image, {latencies[0].threads} CPU thread(s), without reading the file')
    for column in ('', 'median ms', 'p95 ms', 'runs'):
        table.add_column(column, justify='right' if column else 'left')
    for one in latencies:
        table.add_row(one.name, f'{one.median:.1f}', f'{one.p95:.1f}', str(one.images))
    return table


def precision_table(precisions: Sequence[Precision]) -> Table:
    """AP on the test set, time and size of each precision."""
    first = precisions[0].latency
    table = Table(title=f'beside fp32: test set; one image, {first.threads} CPU thread(s)')
    for column in ('', 'AP50', 'AP', 'median ms', 'p95 ms', 'MB'):
        table.add_column(column, justify='right' if column else 'left')
    for one in precisions:
        ap = (f'{one.metrics[key]:.3f}' for key in ('AP50', 'AP'))
        time = (f'{one.latency.median:.1f}', f'{one.latency.p95:.1f}')
        table.add_row(one.name, *ap, *time, f'{one.size / 2**20:.1f}')
    return table
