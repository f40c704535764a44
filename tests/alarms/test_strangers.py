"""Sources that send as us and fail DMARC: what is judged, and what becomes of an incident."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from pipelines.alarms.machine import Machine, advance, retire
from pipelines.alarms.rule import Rule
from pipelines.alarms.strangers import DAY_MS, Day, History, Limits, Source, reading

NOW = 20_000 * DAY_MS
LIMITS = Limits("warning", messages=100, new_days=7, learn_days=7)
RULE = Rule("dmarc_failure", "dmarc_failure", ("dmarc_source",), quiet_hours=72, hold_hours=24)
KNOWN = History(first_seen=NOW - 2 * DAY_MS, aligned=False, domain_since=NOW - 90 * DAY_MS)


def day(before: int, messages: float) -> Day:
    return Day(NOW - before * DAY_MS, NOW - (before - 1) * DAY_MS, messages)


def source(*days: Day, history: History = KNOWN) -> Source:
    return Source("shop.example", "esp.example", days, history, {"sql": "SELECT 1"})


def fires(found: Source, now: int = NOW) -> bool:
    return reading(found, Machine(), LIMITS, now).proven == "warning"


def test_a_new_source_that_was_never_aligned_is_told_from_the_limit_on() -> None:
    assert fires(source(day(2, 100)))
    assert not fires(source(day(2, 99), day(1, 99)))


def test_what_was_aligned_once_is_known_for_long_or_came_while_we_learned_is_no_stranger() -> None:
    busy = day(2, 1e6)
    assert not fires(source(busy, history=replace(KNOWN, aligned=True)))
    assert not fires(source(busy, history=replace(KNOWN, first_seen=NOW - 8 * DAY_MS)))
    assert fires(source(busy, history=replace(KNOWN, first_seen=NOW - 7 * DAY_MS)))
    assert not fires(source(busy, history=replace(KNOWN, domain_since=NOW - 8 * DAY_MS)))
    assert fires(source(busy, history=replace(KNOWN, domain_since=NOW - 9 * DAY_MS)))


def test_the_evidence_says_how_much_in_which_day_and_how_to_see_the_rest() -> None:
    found = reading(source(day(2, 300), day(1, 120)), Machine(), LIMITS, NOW)
    assert (found.rate, found.limit, found.e_value) == (300, 100, None)
    assert found.facts["day"] == NOW - 2 * DAY_MS
    assert found.facts["sql"] == "SELECT 1"
    assert "esp.example" in found.facts["summary"]
    assert "shop.example" in found.facts["summary"]


def run(machine: Machine, found: Source, *hours: float) -> tuple[Machine, list[str]]:
    """The causes of transitions, evaluating at so many hours after `NOW`."""
    causes = []
    for hour in hours:
        now = NOW + int(hour * 3_600_000)
        machine, told = advance(machine, RULE, reading(found, machine, LIMITS, now))
        causes += [told.cause] if told else []
    return machine, causes


def test_an_incident_goes_on_with_half_the_limit_then_ends_and_what_was_in_it_opens_no_other() -> None:
    machine, causes = run(Machine(), source(day(2, 400)), 0, 0.1, 1, 2, 12, 71)
    assert causes == ["evidence"]
    going_on = source(day(2, 400), day(0, 60), day(-1, 55), day(-2, 49))
    machine, causes = run(machine, going_on, 24, 48, 72, 96, 119)
    assert causes == []
    machine, causes = run(machine, going_on, 120)
    assert (causes, machine.state) == (["quiet"], "recovering")
    late = source(*going_on.days, day(-6, 50))
    again, causes = run(machine, late, 168)
    assert (causes, again.incident) == (["relapse"], machine.incident)
    machine, causes = run(machine, going_on, 143, 144, 150, 300)
    assert (causes, machine.state, machine.is_open) == (["quiet"], "resolved", False)


@given(
    days=st.lists(st.tuples(st.integers(-9, 30), st.floats(0, 1e9)), max_size=12),
    first=st.integers(0, 40),
    since=st.integers(0, 60),
    aligned=st.booleans(),
    looks=st.lists(st.integers(0, 600), max_size=40),
)
def test_never_two_incidents_at_once_and_looking_again_at_the_same_tells_nothing(
    days: list[tuple[int, float]], first: int, since: int, *, aligned: bool, looks: list[int]
) -> None:
    found = source(
        *(day(before, messages) for before, messages in days),
        history=History(NOW - first * DAY_MS, aligned=aligned, domain_since=NOW - since * DAY_MS),
    )
    machine, incidents = Machine(), []
    for hour in sorted(looks):
        before = machine
        machine, causes = run(machine, found, hour)
        incidents += [machine.incident] if causes == ["evidence"] else []
        if causes:
            assert machine.seq == before.seq + 1
        assert run(machine, found, hour) == (machine, [])
    # The same reports, however often looked at, are one incident.
    assert len(incidents) <= 1
    assert not (aligned and incidents)
    ended, _ = retire(machine, NOW)
    assert not ended.is_open
