"""docs/config.md against the code: every key and option that it names exists, none is left out, and defaults are those
stated."""

import ast
import inspect
import re
from pathlib import Path

import mmpd.register
import mmpd.sr.register  # noqa: F401
from mmpd.chain.chain import CHAIN_KEYS, STAGE_KEYS
from mmpd.chain.keys import DATA_KEYS, SCHEDULE_KEYS
from mmpd.det.task import DetectionTask

import pytest
from mmdet.registry import MODELS

PAGE = (Path(__file__).parents[1] / 'docs' / 'config.md').read_text()
OPTION = re.compile(r'`(\w+)`(?: \(([^;)]+))?')


def section(title: str) -> str:
    return PAGE.split(f'## {title}\n', 1)[1].split('\n## ', 1)[0]


def first_column(title: str) -> set[str]:
    rows = [row.split('|')[1] for row in section(title).splitlines() if row.startswith('| `')]
    return {name for cell in rows for name in re.findall(r'`(\w+)`', cell)}


def options_of(kind: type) -> dict:
    """Every keyword of a term's class and of those that it hands keywords on to → its default."""
    found: dict = {}
    for base in inspect.getmro(kind):
        if '__init__' in vars(base):
            parameters = inspect.signature(base.__init__).parameters.values()
            found = {**{one.name: one.default for one in parameters if one.default is not one.empty}, **found}
            if all(one.kind is not one.VAR_KEYWORD for one in parameters):
                break
    return found


def test_keys_of_a_chain_and_of_a_stage_are_all_there():
    assert first_column('Keys of the chain') == CHAIN_KEYS - {'stages'}
    assert first_column('Keys of a stage') == STAGE_KEYS


def test_keys_of_data_and_schedule_are_all_there():
    words = set(re.findall(r'`(\w+)(?:=True)?`', section('Keys of the chain')))
    assert {*DATA_KEYS, *DetectionTask.data_keys} <= words
    assert set(SCHEDULE_KEYS) <= words


ROWS = [row.split('|')[1:4] for row in section('Terms').splitlines() if row.startswith('| `')]


@pytest.mark.parametrize('row', ROWS, ids=lambda row: row[0].strip())
def test_options_of_a_term_exist_and_default_to_what_is_stated(row):
    kinds = [MODELS.get(name) for name in re.findall(r'`(\w+)`', row[0])]
    known = [options_of(kind) for kind in kinds]
    for name, default in OPTION.findall(row[2]):
        if name == 'ResponseTerm':  # 'and those of `ResponseTerm`', which has a row of its own
            continue
        having = [options for options in known if name in options]
        assert having, name
        stated = ast.literal_eval(default.strip().strip('`'))
        for kind, options in zip(kinds, known, strict=True):
            if name in options:
                actual = options[name] if options[name] is not None else kind.default_temperature
                assert actual == stated, (kind.__name__, name)
    named = {name for name, _ in OPTION.findall(row[2])}
    if 'ResponseTerm' not in row[2]:
        assert {name for options in known for name in options} <= named
