"""Who may import whom: no circles, the layers of the layout, one style of import."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from mmpd.cli import COMMANDS

import pytest

ROOT = Path(__file__).parents[1] / 'mmpd'
MODULES = {
    '.'.join(('mmpd', *path.relative_to(ROOT).with_suffix('').parts)).removesuffix('.__init__'): path
    for path in sorted(ROOT.rglob('*.py'))
}
TASKS = ('det', 'cls', 'sr')
# folder → folders of mmpd that it never imports, not even inside a function
NEVER = {
    'losses': ('chain', 'run', 'distill', 'align', 'terms', 'heads', 'data', *TASKS),
    'align': ('chain', 'run', 'distill', 'terms', 'check', *TASKS),
    'heads': ('chain', 'run', 'distill', 'terms', *TASKS),
    'modules': ('chain', 'run', 'distill', 'align', 'terms', *TASKS),
    'terms': ('chain', 'run', 'check', *TASKS),
    'distill': ('chain', 'run', 'check', 'hooks', *TASKS),
    'data': ('chain', 'run', 'distill', 'align', 'terms', *TASKS),
    'chain': ('run', 'distill', 'align', 'terms', 'losses', 'hooks', 'check', 'evaluation', *TASKS),
    'io': ('run', 'distill', 'align', 'terms', *TASKS),
    'evaluation': ('distill', 'align', 'terms', 'check', *TASKS),
    'det': ('terms', 'cls', 'sr'),
    'cls': ('det', 'sr'),
    'sr': ('det', 'cls'),
    'runtime': ('chain', 'run', 'distill', 'io', 'data', 'compat', *TASKS),  # it works without torch
}


def imports(name: str, lazy: bool) -> Iterator[tuple[str, ast.ImportFrom | ast.Import]]:
    """(module of mmpd, its import statement); `lazy`: also those inside functions. Type checkers' own never count."""

    def visit(node: ast.AST) -> Iterator[ast.ImportFrom | ast.Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, (ast.Import, ast.ImportFrom)):
                yield child
            elif isinstance(child, ast.If) and ast.unparse(child.test) == 'TYPE_CHECKING':
                continue
            elif lazy or not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
                yield from visit(child)

    path = MODULES[name]
    package = name if path.name == '__init__.py' else name.rpartition('.')[0]
    for statement in visit(_tree(path)):
        if isinstance(statement, ast.Import):
            yield from ((alias.name, statement) for alias in statement.names if alias.name in MODULES)
            continue
        above = package.split('.')[: len(package.split('.')) - statement.level + 1] if statement.level else []
        base = '.'.join([*above, *([statement.module] if statement.module else [])])
        for alias in statement.names:
            target = f'{base}.{alias.name}' if f'{base}.{alias.name}' in MODULES else base
            if target in MODULES:
                yield target, statement


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def circle(edges: dict[str, set[str]]) -> list[str]:
    """A path that ends where it began, [] where there is none: what is left when everything that leads nowhere goes."""
    left = {name: set(targets) for name, targets in edges.items()}
    while leaves := [name for name, targets in left.items() if not targets & left.keys()]:
        for name in leaves:
            del left[name]
    path = list(left)[:1]
    while path and path[-1] not in path[:-1]:
        path.append(min(left[path[-1]] & left.keys()))
    return path[path.index(path[-1]) :] if path else []


def test_no_modules_import_each_other_in_a_circle():
    assert circle({name: {target for target, _ in imports(name, lazy=False)} - {name} for name in MODULES}) == []


def test_a_circle_would_be_found():
    assert circle({'a': {'b'}, 'b': {'c', 'd'}, 'c': set(), 'd': set()}) == []
    assert circle({'a': {'b'}, 'b': {'c'}, 'c': {'d', 'b'}, 'd': set()}) == ['b', 'c', 'b']


@pytest.mark.parametrize('folder', NEVER)
def test_layers_hold(folder):
    own = [name for name in MODULES if name.split('.')[1:2] == [folder]]
    assert own, f'no folder mmpd/{folder}'
    wrong = [
        f'{name} imports {target}'
        for name in own
        for target, _ in imports(name, lazy=True)
        if target.split('.')[1:2] and target.split('.')[1] in NEVER[folder]
    ]
    assert wrong == []


def test_imports_inside_the_package_are_relative():
    absolute = [
        f'{MODULES[name]}:{statement.lineno}'
        for name in MODULES
        for target, statement in imports(name, lazy=True)
        if isinstance(statement, ast.Import) or not statement.level
    ]
    assert absolute == []


# Modules without a test file of their own name, and that no test imports by name: the file that runs them.
TESTED_BY = {
    '__main__': 'cli/test_cli.py',
    **{f'cli.{name}': 'cli/test_cli.py' for name in COMMANDS},
    'align.memo': 'distill/test_guide_cache.py',
    'check.pyramids': 'check/test_preflight.py',
    'cls.resolution': 'cls/test_rkd.py',
    'compat.ops.precision': 'compat/ops',
    'demo.run': 'cli/test_wheel.py',
    'evaluation.coco_ap': 'evaluation/test_metric.py',
    'evaluation.deployed': 'io/test_export.py',
    'evaluation.timing': 'evaluation/test_cost_study.py',
    'evaluation.writers': 'sr/test_tools.py',
    'io.onnx_file': 'io/test_export.py',
    'io.proof': 'io/test_export.py',
    'progress': 'run/test_old_work_dir.py',
    'report.deploy': 'io/test_export.py',
    'report.figures': 'report/test_page.py',
    'sr.infer': 'sr/test_tools.py',
    'sr.precision': 'sr/test_task.py',
    'sr.view': 'sr/test_task.py',
    'terms.matched': 'terms/test_rkd.py',
}


def test_every_module_has_its_tests():
    """tests/<folder>/test_<module>.py, a test that imports it, or the file that TESTED_BY names."""
    tests = Path(__file__).parent
    imported = {name for file in tests.rglob('*.py') for name in _imported(file)}
    lost = []
    for name, path in MODULES.items():
        short = name.removeprefix('mmpd').lstrip('.')
        folder, _, leaf = short.rpartition('.')
        own = tests / folder.replace('.', '/') / f'test_{leaf}.py'
        named = TESTED_BY.get(short)
        if path.name == '__init__.py' or own.is_file() or name in imported:
            continue
        if not (named and (tests / named).exists()):
            lost.append(short)
    assert lost == []
    assert [short for short in TESTED_BY if f'mmpd.{short}' not in MODULES] == []


def _imported(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f'{node.module}.{alias.name}' for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
