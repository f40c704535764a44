from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.alarms.latency import Counts, Latency, measured
from pipelines.alarms.machine import Machine, advance
from pipelines.alarms.rules import Rule

H0 = 1_767_225_600
RULE = Rule(
    "codes",
    "delivery_latency",
    ("campaign",),
    warning=30,
    critical=120,
    fast_hours=2,
    slow_hours=24,
    quiet_hours=1,
    hold_hours=0.25,
    options=MappingProxyType({"percentile": 0.95}),
)


def walked(counted: dict[int, Counts], until_h: float, machine: Machine | None = None) -> list[Machine]:
    """The machine after each transition up to some hours after `H0`."""
    machine = machine or Machine()
    test = Latency(RULE, counted)
    at, until = (H0 - 3600) * 1000, int((H0 + until_h * 3600) * 1000)
    found = []
    while at < until and (instant := next(test.instants(machine, at, until), None)) is not None:
        machine, told = advance(machine, RULE, test.reading(machine, instant))
        if told is not None:
            found.append(machine)
        at = instant
    return found


def hours(*counts: Counts) -> dict[int, Counts]:
    return {H0 + place * 3600: each for place, each in enumerate(counts)}


def test_a_percentile_at_its_limit_is_quiet_and_one_above_is_told() -> None:
    at_limit = (200, 10, 0)
    assert walked(hours(*[at_limit] * 24), 24) == []
    (opened,) = walked(hours(*[at_limit] * 12, (200, 60, 0)), 13)
    assert (opened.state, opened.severity, opened.changed) == ("firing", "warning", (H0 + 13 * 3600) * 1000)


def test_critical_has_its_own_limit_in_seconds() -> None:
    (opened,) = walked(hours((200, 120, 100)), 1)
    assert (opened.severity, opened.limit) == ("critical", 120)
    (opened,) = walked(hours((200, 120, 9)), 1)
    assert (opened.severity, opened.limit) == ("warning", 30)


def test_it_recovers_and_resolves_at_hour_boundaries_of_a_replay() -> None:
    bad, good = (300, 150, 0), (300, 1, 0)
    states = walked(hours(good, bad, bad, *[good] * 8), 11)
    assert [each.state for each in states] == ["firing", "recovering", "resolved"]
    assert [each.changed % 3_600_000 for each in states] == [0, 0, 0]


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60), st.integers(0, 60)), min_size=1, max_size=12)
)
def test_slower_deliveries_never_look_better(counts: list[tuple[int, int, int]]) -> None:
    """And so what has come before what takes long proves no more than all of it."""
    of = hours(*[(a + b + c, b + c, c) for a, b, c in counts])
    slower = hours(*[(a + b + c, a + b + c, c) for a, b, c in counts])
    now = max(of) * 1000 + 3_600_000
    fewer, more = (Latency(RULE, each).reading(Machine(), now).e_value or 0 for each in (of, slower))
    assert fewer <= more * (1 + 1e-9)


def test_what_is_told_is_in_seconds() -> None:
    test = Latency(RULE, hours((200, 60, 0)))
    told = measured(test.reading(Machine(), (H0 + 3600) * 1000), 44.25)
    assert (told.rate, told.limit, told.proven) == (44.25, 30, "warning")
    assert told.facts["summary"] == (
        "60 of 200 deliveries took longer than 30 s; the 95th percentile was 44.2 s"
    )
    assert told.facts["hit"] == "deliveries slower than 30 s"
    assert "rate_low" not in told.facts
    assert told.facts["slow_share_low"] == pytest.approx(0.237, abs=0.002)


def test_a_rule_with_critical_alone_has_it_alone() -> None:
    rule = replace(RULE, warning=None)
    test = Latency(rule, hours((200, 60)))
    assert test.reading(Machine(), (H0 + 3600) * 1000).proven == "critical"


def test_no_deliveries_prove_nothing() -> None:
    test = Latency(RULE, {})
    assert list(test.instants(Machine(), 0, H0 * 1000)) == []
    assert test.reading(Machine(), H0 * 1000).proven is None
