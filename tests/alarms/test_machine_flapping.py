"""The machine driven by the real test: no flapping around a limit, and the same transitions however time is cut."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.alarms.detector import Detector
from pipelines.alarms.machine import HOUR_MS, HOUR_S, Machine, pack, unpack
from pipelines.alarms.rules import defaults
from pipelines.alarms.series import Series
from pipelines.alarms.walk import FOREVER, Way, walk

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from pipelines.alarms.transition import Transition

RULE = defaults().by_name["complaint_rate"]
LIMIT = 0.001
FIRST = 490_000
"""Hours since the epoch."""
DAYS = 30
AN_HOUR = 3000


def series(hits: Sequence[int], trials: int = AN_HOUR) -> Series:
    return Series.of({(FIRST + hour) * HOUR_S: (count, trials) for hour, count in enumerate(hits)})


def walked(
    known: Series, ends: Sequence[int], machine: Machine | None = None
) -> tuple[Machine, list[Transition]]:
    """Event time goes on to each of the ends (hours from the first) in turn; at each there is a restart."""
    state, told, after = machine or Machine(), [], FOREVER
    for end in ends:
        until = (FIRST + end) * HOUR_MS
        state, more = walk(unpack(pack(state)), RULE, Detector(RULE, known, 6), known, Way(after, until))
        told += more
        after = until
    return state, told


RATES: dict[str, tuple[Callable[[NDArray[np.int64]], NDArray[np.float64]], int]] = {
    "at the limit": (lambda hour: LIMIT + 0.0 * hour, 0),
    "a little above": (lambda hour: 1.2 * LIMIT + 0.0 * hour, 3),
    "above by day, below by night": (lambda hour: np.where(hour % 24 < 12, 2 * LIMIT, LIMIT / 5), 4),
    "above in every other hour": (lambda hour: np.where(hour % 2, 1.9 * LIMIT, 0.0), 4),
    "far above": (lambda hour: 5 * LIMIT + 0.0 * hour, 1),
}


@pytest.mark.parametrize(("rate", "most"), RATES.values(), ids=RATES)
def test_a_rate_around_its_limit_opens_few_incidents_in_a_month(
    rate: Callable[[NDArray[np.int64]], NDArray[np.float64]], most: int
) -> None:
    """At the most one a week of a key; a naive threshold opens dozens."""
    hours = np.arange(24 * DAYS)
    naive = 0
    for seed in range(3):
        hits = np.random.default_rng(seed).binomial(AN_HOUR, rate(hours))
        _, told = walked(series(hits.tolist()), [24 * DAYS])
        causes = Counter(each.cause for each in told)
        assert causes["evidence"] <= most, causes
        over = hits > LIMIT * AN_HOUR
        naive += int((over[1:] & ~over[:-1]).sum())
        if most and rate(hours).min() > 3 * LIMIT:
            assert (causes["evidence"], causes["clean"], causes["quiet"]) == (1, 0, 0)
            assert told[-1].severity == "critical"
    assert naive > 50 or rate(hours).min() > 3 * LIMIT


def test_a_campaign_that_was_cleaned_is_told_once_and_is_over_once() -> None:
    rates = np.where(np.arange(24 * 20) // 24 == 3, 6 * LIMIT, LIMIT / 4)
    for seed in range(3):
        hits = np.random.default_rng(seed).binomial(AN_HOUR, rates)
        machine, told = walked(series(hits.tolist()), [24 * 20])
        states = [each.state for each in told]
        assert states[-2:] == ["recovering", "resolved"]
        assert set(states[:-2]) == {"firing"}
        assert told[0].time >= (FIRST + 72) * HOUR_MS
        assert machine.incident == 0


stretches = st.lists(
    st.tuples(st.sampled_from([0, 0, 1, 3, 6, 12, 40]), st.integers(1, 40)), min_size=1, max_size=10
)


def hits_of(drawn: list[tuple[int, int]]) -> list[int]:
    return [count for count, hours in drawn for _ in range(hours)]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(stretches, st.lists(st.integers(1, 399), max_size=6))
def test_however_time_is_cut_and_restarted_the_transitions_are_the_same(
    drawn: list[tuple[int, int]], cuts: list[int]
) -> None:
    hits = hits_of(drawn)
    known, end = series(hits, 2000), len(hits) + 80
    machine, told = walked(known, [end])
    ends = sorted({min(cut, end) for cut in cuts} | {end})
    assert walked(known, ends) == (machine, told)
    assert walked(known, [end], machine) == (machine, []), "a replay of all of it tells nothing"


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(stretches)
def test_what_an_incident_rests_on_opens_no_other_and_every_end_was_held(
    drawn: list[tuple[int, int]],
) -> None:
    hits = hits_of(drawn)
    _, told = walked(series(hits, 2000), [len(hits) + 80])
    assert [each.seq for each in told] == list(range(1, len(told) + 1))
    for former, later in pairwise(told):
        assert former.time < later.time
        if later.state == "resolved":
            assert former.state == "recovering"
            assert later.time - former.time >= RULE.hold_hours * HOUR_MS
        if later.cause == "evidence":
            since = unpack(former.machine).since
            assert since * 1000 >= former.time - HOUR_MS
            assert datetime.fromisoformat(later.facts["since"]).timestamp() >= since
        if former.cause == "relapse" and later.cause == "clean":
            assert unpack(later.machine).clean_since * 1000 >= former.time - HOUR_MS


def test_an_incident_of_another_limit_goes_on_under_it() -> None:
    """A rule that changes while an incident is open: it is judged by the new limits from then on."""
    known = series([30] * 30 + [3] * 40)
    machine, told = walked(known, [30])
    assert (told[0].cause, told[-1].severity) == ("evidence", "critical")
    lenient = replace(RULE, warning=0.01, critical=0.02)
    way = Way((FIRST + 30) * HOUR_MS, (FIRST + 70) * HOUR_MS)
    after, more = walk(machine, lenient, Detector(lenient, known, 6), known, way)
    assert [(each.state, each.severity) for each in more] == [
        ("recovering", "critical"),
        ("resolved", "critical"),
    ]
    assert after.state == "resolved"
