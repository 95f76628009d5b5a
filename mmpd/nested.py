"""Nested configs: every dict in one, what its `type` is called, and what is no setting."""

from __future__ import annotations

from collections.abc import Iterator
from types import FunctionType, ModuleType
from typing import Any


def name_types(node: Any) -> None:
    """Types that a pure-Python config gives as classes (`type=RandomFlip`) by their names, in place: mmengine builds
    from either, but can write only names into a config file."""
    for part in walk_dicts(node):
        if isinstance(part.get('type'), type):
            part['type'] = f'{part["type"].__module__}.{part["type"].__qualname__}'


def drop_imports(node: dict) -> None:
    """Names that a pure-Python config imports, in place: classes, functions and modules are no settings, and no config
    file can hold them."""
    for name in [name for name, value in node.items() if isinstance(value, (type, FunctionType, ModuleType))]:
        del node[name]


def bare_type(part: dict) -> str:
    """'mmdet.RepeatDataset' → 'RepeatDataset': in another task's scope types carry their registry."""
    kind = part.get('type', '')
    return kind.__name__ if isinstance(kind, type) else str(kind).rpartition('.')[2]


def walk_dicts(node: Any) -> Iterator[dict]:
    """Every dict in a nested config."""
    if isinstance(node, dict):
        yield node
        for value in node.values():
            yield from walk_dicts(value)
    elif isinstance(node, (list, tuple)):
        for value in node:
            yield from walk_dicts(value)
