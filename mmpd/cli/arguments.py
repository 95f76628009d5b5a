"""Arguments that commands share, and how they become a config. Importing this module imports nothing heavy."""

from __future__ import annotations

import argparse
import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError
from ..paths import configs_folder

if TYPE_CHECKING:
    from mmengine.config import Config


_HOLDS_DICT = re.compile(r'dict\(|{|[\[(].*(\bdict\(|{)', re.DOTALL)
"""A dict, or a list that holds one; text with a brace in it, a path say, is text."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """`--cfg-options key=value …`, kept as text until mmengine is imported; given twice, both count, as in mmdet."""
    parser.add_argument(
        '--cfg-options', nargs='+', action='extend', default=[], metavar='KEY=VALUE', help='merged into the config'
    )


def add_launcher(parser: argparse.ArgumentParser) -> None:
    """`--launcher` and `--local_rank`, as in mmdet."""
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none')
    parser.add_argument('--local_rank', '--local-rank', type=int, default=0)


def check_counts(args: argparse.Namespace, *names: str) -> None:
    """Options that count something, where they are given. Raises ConfigError where one is below 1."""
    for name in names:
        value = getattr(args, name)
        if value is not None and value < 1:
            raise ConfigError(f'--{name.replace("_", "-")} {value}: give a whole number, at least 1')


def device_of(name: str | None) -> str:
    """The device that `--device` names; default: a GPU where there is one. Raises ConfigError; imports torch."""
    import torch

    gpu = torch.cuda.is_available()
    try:
        kind = torch.device(name or 'cpu').type
    except RuntimeError:
        kind = 'unknown'
    if kind == 'unknown' or (kind == 'cuda' and not gpu):
        raise ConfigError(f"--device {name}: use 'cpu'" + (" or 'cuda'" if gpu else ', there is no CUDA GPU here'))
    return name or ('cuda' if gpu else 'cpu')


def config_path(name: str) -> Path:
    """The file of a config: a path, or `mmpd::pd_voc.py` of the configs that mmpd brings.

    Raises:
        ConfigError: no such file.
    """
    path = configs_folder() / name.removeprefix('mmpd::') if name.startswith('mmpd::') else Path(name)
    if not path.is_file():
        known = ', '.join(sorted(file.name for file in configs_folder().glob('*.py'))[:8])
        raise ConfigError(f'CONFIG = {name!r}: no such file; mmpd brings mmpd::NAME with NAME one of {known}, …')
    return path


def options(words: list[str]) -> dict[str, Any]:
    """`KEY=VALUE` words: Python literals, in which dicts may be written `dict(key=value)`; what is none as mmengine's
    `DictAction` reads it (`true`, `[a,b]`, `a,b`), but for the blanks of a text, which that takes out.

    Raises:
        ConfigError: a word without `=`, or a dict or brackets that hold more than literals.
    """
    for word in words:
        if '=' not in word:
            raise ConfigError(f'--cfg-options {word!r}: write KEY=VALUE, e.g. ratio=4')
    return {key: _value(key, value.strip()) for key, _, value in (word.partition('=') for word in words)}


def _value(key: str, text: str) -> Any:
    from mmengine.config import DictAction

    try:
        value = ast.literal_eval(_Dicts().visit(ast.parse(text, mode='eval')))
        return list(value) if isinstance(value, tuple) and text[0] != '(' else value  # a bare 1,2 is a list in mmengine
    except (SyntaxError, ValueError, TypeError) as error:
        if _HOLDS_DICT.match(text):
            raise ConfigError(
                f'--cfg-options {key}={text}: no Python literal; write e.g. "dict(type=\'A\', b=[1, 2])"'
            ) from error
    if ' ' in text and ',' not in text and text[0] not in '[(':
        return text
    try:
        return DictAction._parse_iterable(text)
    except (RecursionError, AssertionError) as error:  # DictAction does not end on `a=f(1,2)`
        raise ConfigError(
            f'--cfg-options {key}={text}: neither text, number nor list; a text with commas or brackets goes into '
            f'quotes of its own, "{key}=\'…\'"'
        ) from error


class _Dicts(ast.NodeTransformer):
    """`dict(a=1)` → `{'a': 1}`."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        named = all(keyword.arg for keyword in node.keywords)
        if not isinstance(node.func, ast.Name) or node.func.id != 'dict' or node.args or not named:
            return node
        keys: list[ast.expr | None] = [ast.Constant(keyword.arg) for keyword in node.keywords]
        return ast.Dict(keys, [keyword.value for keyword in node.keywords])


def read(args: argparse.Namespace) -> Config:
    """The config of `args.config` with `args.cfg_options` merged in; imports mmengine, mmdet and mmpd's own types."""
    path = config_path(args.config)
    from .. import register  # noqa: F401
    from ..evaluation.measure import read_config

    return read_config(path, options(args.cfg_options))


def work_dir_of(args: argparse.Namespace, config: Config) -> str:
    """`--work-dir`, the config's `work_dir`, or work_dirs/<config name>."""
    return args.work_dir or config.get('work_dir') or f'work_dirs/{Path(args.config.removeprefix("mmpd::")).stem}'
