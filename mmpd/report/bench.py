"""What a step costs, as a table and a few lines."""

from __future__ import annotations

from typing import Any

from rich.markup import escape
from rich.table import Table


def bench_table(title: str, result: dict[str, Any]) -> Table:
    """Parts and terms of `mmpd.run.bench.bench_stage`, a row each."""
    table = Table(title=escape(f'{title}: milliseconds an image, median [quartiles]'), title_justify='left')
    for header in ('part', 'CPU', 'wall', 'peak MiB'):
        table.add_column(header, justify='left' if header == 'part' else 'right')
    for part, times in result['times'].items():
        cells = []
        for key in ('cpu', 'wall'):
            low, high = (1e3 * quartile for quartile in times[f'{key}_quartiles'])
            cells.append(f'{1e3 * times[key]:.1f} [{low:.1f}–{high:.1f}]')
        peak = result['mebibytes'].get(part)
        table.add_row(part, *cells, '' if peak is None else f'{peak:.0f}')
    for name, term in result['terms'].items():
        table.add_row(f'term {name}', f'{1e3 * term["forward"]:.1f} + {1e3 * term["backward"]:.1f} backward', '', '')
    return table


def options_table(title: str, result: dict[str, Any]) -> Table:
    """Options of `mmpd.run.bench.compare_options`, a row each: milliseconds an image, × those without any."""
    key = 'wall' if result['options']['device'].startswith('cuda') else 'cpu'
    plain = result['times']['plain']
    table = Table(title=escape(f'{title}: {key} milliseconds an image, × plain'), title_justify='left')
    for header in ('option', *plain):
        table.add_column(header, justify='left' if header == 'option' else 'right')
    for name, parts in result['times'].items():
        cells = (
            f'{1e3 * parts[part][key]:.1f} × {parts[part][key] / plain[part][key]:.2f}' if part in parts else ''
            for part in plain
        )
        table.add_row(name, *cells)
    return table


def bench_lines(result: dict[str, Any]) -> list[str]:
    """The ratios, and what is not of the step."""
    lines = [
        f'step / (student step + guide forward): {result["ratio"]:.3f}',
        f'memory of the step / (student step + guide outputs): {result["memory_ratio"]:.3f}',
    ]
    if 'peer_ratio' in result:
        lines += [
            f"mmdet's distillation of GFL at one size, step / parts: {result['peer_ratio']:.3f}",
            f'memory of its step / its student step: {result["peer_memory_ratio"]:.3f}',
        ]
    loader, step = result['loader'], result['times']['distillation step']['cpu']
    lines += [
        f'loader: {1e3 * loader["cpu"]:.1f} CPU ms an image: 2 workers on idle cores give '
        f'{2 * step / loader["cpu"]:.1f} × what the step takes',
        f'loader here: {loader["images_per_second"]:.0f} images a second with {loader["workers"]} workers',
    ]
    if 'first_iteration' in result:
        first = result['first_iteration']
        lines.append(f'mmpd train to the end of its first iteration: {first["cpu"]:.1f} CPU s, {first["wall"]:.1f} s')
    imports = ', '.join(f'import {name}: {spent:.1f} CPU s' for name, spent in result['import_seconds'].items())
    return [*lines, imports]
