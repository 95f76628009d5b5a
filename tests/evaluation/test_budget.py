"""Pareto front and budgets against brute force over their definitions."""

from mmpd.errors import ConfigError
from mmpd.evaluation.budget import Scored, pareto_front, parse_budget, within

import pytest
from hypothesis import given
from hypothesis import strategies as st

small = st.integers(0, 5).map(float)


def scored(accuracy: float, latency: float, size: float, label: str = '') -> Scored:
    return Scored(label, accuracy, 0.0, 1, dict(latency=latency, bytes=size))


@given(st.lists(st.tuples(small, small), max_size=12))
def test_front_is_what_no_other_point_beats(points) -> None:
    def beaten(a, b) -> bool:
        return b[0] <= a[0] and b[1] >= a[1] and (b[0] < a[0] or b[1] > a[1])

    assert pareto_front(points) == [not any(beaten(a, b) for b in points) for a in points]


networks = st.lists(st.builds(scored, small, small, small), min_size=1, max_size=8)


@given(networks, small, small)
def test_the_answer_is_the_most_accurate_that_fits(nets, latency, size) -> None:
    answer = within(nets, dict(latency=latency, bytes=size))
    fitting = [one for one in nets if one.costs['latency'] <= latency and one.costs['bytes'] <= size]
    if not fitting:
        assert answer.best is None
        return
    assert answer.best in fitting
    assert answer.best.accuracy == max(one.accuracy for one in fitting)
    equal = [one for one in fitting if one.accuracy == answer.best.accuracy]
    assert answer.best.costs['latency'] == min(one.costs['latency'] for one in equal)


@given(networks, small, small)
def test_a_limit_binds_where_dropping_it_alone_gives_more(nets, latency, size) -> None:
    limits = dict(latency=latency, bytes=size)
    answer = within(nets, limits)
    got = answer.best.accuracy if answer.best else -1.0
    for name, other in (('latency', 'bytes'), ('bytes', 'latency')):
        without = [one for one in nets if one.costs[other] <= limits[other]]
        most = max((one.accuracy for one in without), default=-1.0)
        assert (name in answer.binding) == (most > got)
        if name in answer.binding:
            assert answer.binding[name].accuracy == most


def test_a_cost_that_was_not_measured() -> None:
    unknown = Scored('x', 0.9, 0.0, 1, {})
    assert within([unknown, scored(0.5, 3, 3, 'y')], dict(latency=5)).best.label == 'y'
    with pytest.raises(ConfigError, match='memory'):
        within([scored(0.5, 3, 3)], dict(memory=5))


def test_budgets_as_they_are_written() -> None:
    assert parse_budget('latency=20ms,bytes=8k') == dict(latency=20, bytes=8000)
    assert parse_budget('latency=0.5s, bytes=8KiB ,macs=1.5G,params=4M,memory=2MB,pixels=5000') == dict(
        latency=500, bytes=8192, macs=1.5e9, params=4e6, memory=2e6, pixels=5000
    )


@pytest.mark.parametrize('text', ['', 'speed=3', 'latency', 'latency=fast', 'latency=3kB', 'latency=1,latency=2'])
def test_a_bad_budget_names_the_part(text) -> None:
    with pytest.raises(ConfigError, match='--budget'):
        parse_budget(text)
