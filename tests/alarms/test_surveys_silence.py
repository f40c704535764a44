from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.alarms.machine import Machine, advance
from pipelines.alarms.rules import Rule
from pipelines.alarms.silence import (
    HOUR_S,
    WEEK_H,
    Hour,
    Limits,
    Pattern,
    learn,
    reading,
    silence,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

WEEK_S = WEEK_H * HOUR_S
START = 1_767_225_600 // HOUR_S * HOUR_S
"""A Thursday."""
END = START + 4 * WEEK_S
LIMITS = Limits("warning", 8760.0, 15.0)
RULE = Rule("stopped", "traffic_stopped", ("account",), quiet_hours=1, hold_hours=0)


def hours_of(sends: Iterable[float]) -> dict[int, Hour]:
    """From send times in seconds."""
    times = np.fromiter(sends, dtype=np.float64).astype(np.int64)
    hours, counts = np.unique(times // HOUR_S, return_counts=True)
    found = dict.fromkeys(hours.tolist(), 0)
    for minute in np.unique(times // 60).tolist():
        found[minute // 60] |= 1 << minute % 60
    return {
        hour * HOUR_S: Hour(found[hour], count)
        for hour, count in zip(hours.tolist(), counts.tolist(), strict=True)
    }


def every(minutes: float, when: Callable[[int], bool] = lambda _: True) -> dict[int, Hour]:
    """Four weeks of sends at a pace, in the hours that are chosen."""
    times = np.arange(START - HOUR_S, END, minutes * 60)
    return hours_of(time for time in times.tolist() if when(int(time) // HOUR_S % 24))


def proven_after(pattern: Pattern, begin: int, most_h: int = 72) -> float:
    """Minutes of silence from `begin` (s) until it is proven; infinite when it is not."""
    for minute in range(most_h * 60):
        now = (begin + minute * 60) * 1000
        found = reading(silence(pattern, begin * 1000, now), Machine(), LIMITS, begin * 1000, now)
        if found.proven:
            return minute
    return math.inf


def learned(hours: dict[int, Hour], weeks: int = 4) -> Pattern:
    pattern = learn(hours, END, weeks)
    assert pattern is not None
    return pattern


def test_with_less_than_two_weeks_there_is_no_telling() -> None:
    hours = every(1)
    assert learn({hour: of for hour, of in hours.items() if hour >= END - 2 * WEEK_S}, END, 4) is None
    assert (
        learn({hour: of for hour, of in hours.items() if hour >= END - 2 * WEEK_S - HOUR_S}, END, 4)
        is not None
    )
    assert learn({}, END, 4) is None


def test_steady_traffic_is_missed_once_it_may_be() -> None:
    assert proven_after(learned(every(0.5)), END) == LIMITS.silent_minutes


def test_slow_traffic_is_missed_by_what_would_have_come() -> None:
    # One every 10 minutes: ln 8760 = 9.1 of them missed at the least.
    minutes = proven_after(learned(every(10)), END)
    assert 85 <= minutes <= 95


def test_a_batch_an_hour_is_missed_by_batches_not_by_sends() -> None:
    batches = hours_of(hour + second for hour in range(START, END, HOUR_S) for second in range(0, 300, 2))
    # Missing one of them proves nothing, missing three does.
    minutes = proven_after(learned(batches), END + 300)
    assert 120 < minutes < 210


def test_nights_and_weekends_prove_nothing_and_working_hours_do() -> None:
    office = learned(every(1, lambda hour: 8 <= hour < 18))
    evening = END + 18 * HOUR_S
    assert proven_after(office, evening, most_h=14) == math.inf
    assert proven_after(office, END + 12 * HOUR_S) == LIMITS.silent_minutes
    # What stopped over night is seen in the morning, once the hour of the usual begin is over.
    assert 15 * 60 < proven_after(office, evening) < 15 * 60 + 15


def test_the_week_after_a_holiday_expects_nothing_of_that_day() -> None:
    hours = {
        hour: of for hour, of in every(1).items() if not END - WEEK_S <= hour < END - WEEK_S + 24 * HOUR_S
    }
    assert proven_after(learned(hours), END, most_h=20) == math.inf
    assert proven_after(learned(hours), END + 30 * HOUR_S) == LIMITS.silent_minutes


def test_few_sends_an_hour_are_not_expected_where_more_are_asked_for() -> None:
    pattern = learn(every(20), END, 4, least_expected=5)
    assert pattern is not None
    assert proven_after(pattern, END) == math.inf


@settings(deadline=None, max_examples=25)
@given(
    active=st.lists(st.booleans(), min_size=24, max_size=24).filter(any),
    shift=st.sampled_from([-1, 1]),
)
def test_a_clock_that_is_put_forward_or_back_stops_nothing(active: list[bool], shift: int) -> None:
    pattern = learned(every(5, lambda hour: active[hour]))
    # The same day, an hour earlier or later: its silences are those between its active hours.
    moved = [active[(hour - shift) % 24] for hour in range(48)]
    last = None
    for hour in range(48):
        if moved[hour]:
            begin = END + hour * HOUR_S
            if last is not None:
                found = silence(pattern, last * 1000, begin * 1000)
                assert not reading(found, Machine(), LIMITS, last * 1000, begin * 1000).proven
            last = begin + HOUR_S - 60


@settings(deadline=None, max_examples=30)
@given(
    idle=st.sets(st.integers(1, 4 * WEEK_H - 1), max_size=40),
    begin=st.integers(0, WEEK_H - 1),
    lengths=st.tuples(st.integers(0, 600), st.integers(0, 600)),
)
def test_evidence_grows_with_silence_and_only_where_something_is_expected(
    idle: set[int], begin: int, lengths: tuple[int, int]
) -> None:
    hours = {hour: of for hour, of in every(7).items() if (hour - START) // HOUR_S not in idle}
    pattern = learned(hours)
    at = (END + begin * HOUR_S) * 1000
    shorter, longer = (silence(pattern, at, at + minutes * 60_000) for minutes in sorted(lengths))
    assert 0 <= shorter.log_e <= longer.log_e
    assert shorter.missed <= longer.missed
    for hour in range(WEEK_H):
        comparable = {week * WEEK_H + (hour + near) % WEEK_H for week in range(4) for near in (-1, 0, 1)}
        place = (START // HOUR_S + hour) % WEEK_H
        assert (pattern.rates[place] == 0) == bool(comparable & idle)


def test_false_pages_of_poisson_traffic_stay_rare() -> None:
    """One in a year is stated; here are 60 keys for four weeks each, about 5 years."""
    chance = np.random.default_rng(4)
    false = 0
    for _ in range(60):
        pace = 10 ** chance.uniform(0.3, 1.7)
        number = chance.poisson(pace * 8 * WEEK_H)
        times = np.sort(chance.uniform(START, START + 8 * WEEK_S, number))
        pattern = learned(hours_of(times[times < END].tolist()))
        after = times[times >= END]
        gaps = np.flatnonzero(np.diff(after) > LIMITS.silent_minutes * 60)
        for gap in gaps.tolist():
            begin, end = int(after[gap] // 60 + 1) * 60_000, int(after[gap + 1] * 1000)
            false += reading(silence(pattern, begin, end), Machine(), LIMITS, begin, end).proven is not None
    assert false <= 5


def test_an_incident_lasts_until_traffic_is_back_and_not_over_night_alone() -> None:
    pattern = learned(every(1, lambda hour: 8 <= hour < 18))
    stopped = (END + 15 * HOUR_S) * 1000

    def at(machine: Machine, hours: float, last_send: int) -> Machine:
        now = END * 1000 + int(hours * 3_600_000)
        begin = max(last_send, machine.since * 1000)
        told = reading(silence(pattern, begin, now), machine, LIMITS, last_send, now)
        return advance(machine, RULE, told)[0]

    machine = at(Machine(), 15.5, stopped)
    assert (machine.state, machine.seq) == ("firing", 1)
    for hours in (20, 23, 30, 34):
        machine = at(machine, hours, stopped)
    assert (machine.state, machine.seq) == ("firing", 1)
    back = (END + 34 * HOUR_S + 600) * 1000
    machine = at(machine, 34 + 12 / 60, back)
    assert machine.state == "recovering"
    machine = at(machine, 34 + 13 / 60, back + 60_000)
    assert (machine.state, machine.seq) == ("resolved", 3)
    assert at(machine, 34 + 14 / 60, back + 120_000) == machine


def test_a_reset_silence_has_to_prove_itself_again() -> None:
    pattern = learned(every(1))
    stopped = END * 1000
    now = stopped + 6 * 3_600_000
    machine = Machine(seq=2, state="ok", changed=now, since=now // 1000)
    begin = max(stopped, machine.since * 1000)
    told = reading(silence(pattern, begin, now + 60_000), machine, LIMITS, stopped, now + 60_000)
    assert told.proven is None
    told = reading(silence(pattern, begin, now + 1_800_000), machine, LIMITS, stopped, now + 1_800_000)
    assert told.proven == "warning"


def test_what_is_forgotten_is_not_waited_for() -> None:
    silent = learn(every(1) | {END: Hour(0, 0)}, END + 2 * WEEK_S, 4)
    assert silent is not None
    now = (END + 2 * WEEK_S) * 1000
    told = reading(silence(silent, END * 1000, now), Machine(), LIMITS, END * 1000, now)
    assert told.last_hit == 0
    assert told.e_value == pytest.approx(1.0)
