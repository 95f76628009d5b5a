"""Accuracy against cost: the Pareto front, and the most accurate network within limits. Pure functions of numbers."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..errors import ConfigError

_UNITS: dict[str, dict[str, float]] = {
    'ms': {'': 1, 'ms': 1, 's': 1000, 'us': 0.001},
    'B': {'': 1, 'b': 1, 'k': 1e3, 'kb': 1e3, 'm': 1e6, 'mb': 1e6, 'kib': 2**10, 'mib': 2**20},
    '': {'': 1, 'k': 1e3, 'm': 1e6, 'g': 1e9},
}
COSTS = {'latency': 'ms', 'bytes': 'B', 'memory': 'B', 'macs': '', 'params': '', 'pixels': ''}
"""Costs that a budget can limit → their unit. Less is better in all of them."""


@dataclass(frozen=True)
class Scored:
    """A network with what it reaches and what it costs.

    Attributes:
        label: what to call it. accuracy: mean over seeds, a fraction; sd: 0 for one seed; seeds: how many.
        costs: by the names in `COSTS`, in milliseconds, bytes or counts; what was not measured is left out.
    """

    label: str
    accuracy: float
    sd: float
    seeds: int
    costs: Mapping[str, float]


@dataclass(frozen=True)
class Answer:
    """What fits a budget.

    Attributes:
        best: the most accurate network within all limits (the cheaper of two that are equal); None where none fits.
        binding: limits without which, alone, a more accurate network (or any) would fit → that network.
    """

    best: Scored | None
    binding: Mapping[str, Scored]


def parse_budget(text: str) -> dict[str, float]:
    """`latency=20ms,bytes=8k` as limits in milliseconds, bytes and counts; 1 k = 1000, 1 KiB = 1024.

    Raises:
        ConfigError: no such cost, no such unit, not a number, or the same cost twice.
    """
    limits: dict[str, float] = {}
    for part in text.split(','):
        name, _, value = part.strip().partition('=')
        number = re.fullmatch(r'([0-9.]+(?:e[0-9]+)?)\s*([A-Za-z]*)', value.strip())
        if name not in COSTS or name in limits:
            raise ConfigError(f'--budget {part!r}: write COST=LIMIT once for each cost, of {sorted(COSTS)}')
        units = _UNITS[COSTS[name]]
        try:
            assert number is not None
            limits[name] = float(number[1]) * units[number[2].lower()]
        except (AssertionError, KeyError, ValueError) as error:
            raise ConfigError(
                f'--budget {part!r}: {value!r} is no limit; write a number, and a unit of {sorted(units)}'
            ) from error
    return limits


def pareto_front(points: Sequence[tuple[float, float]]) -> list[bool]:
    """Which (cost, accuracy) points no other beats: none is as cheap and as accurate, and better in one of the two."""
    order = sorted(range(len(points)), key=lambda i: (points[i][0], -points[i][1]))
    front = [False] * len(points)
    best, cost_of_best = -math.inf, -math.inf
    for i in order:
        cost, accuracy = points[i]
        if accuracy > best:
            best, cost_of_best = accuracy, cost
            front[i] = True
        elif accuracy == best and cost == cost_of_best:  # an equal twin
            front[i] = True
    return front


def within(networks: Sequence[Scored], limits: Mapping[str, float]) -> Answer:
    """The answer to a budget.

    Raises:
        ConfigError: a limit on a cost that was measured of no network.
    """
    for name in limits:
        if not any(name in one.costs for one in networks):
            raise ConfigError(f'--budget {name}: this cost was not measured (latency needs --time, bytes need images)')
    best = _best(networks, limits)
    binding = {}
    for name in limits:
        without = _best(networks, {key: value for key, value in limits.items() if key != name})
        if without is not None and (best is None or without.accuracy > best.accuracy):
            binding[name] = without
    return Answer(best, binding)


def _best(networks: Sequence[Scored], limits: Mapping[str, float]) -> Scored | None:
    fitting = [one for one in networks if all(one.costs.get(name, math.inf) <= value for name, value in limits.items())]
    return max(fitting, key=lambda one: (one.accuracy, *(-one.costs[name] for name in limits)), default=None)
