"""`Detector`: what is told of a key, at which instant, from which hours."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.alarms.detector import Detector, least_hits
from pipelines.alarms.machine import Machine
from pipelines.alarms.rule import Rule
from pipelines.alarms.series import Series
from schemas.alarms import SEVERITIES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipelines.alarms.reading import Reading

H = 3600
HOUR = 1_760_011_200
LATE_H = 6
RULE = Rule("complaint_rate", "complaint_rate", warning=0.001, critical=0.003)
DRIFT = Rule("drift", "baseline_drift", of="complaint_rate", notice=0.001, mean_days=90.0)
QUICK = replace(RULE, warning=0.05, critical=0.2, mean_days=2.0, slow_hours=30, fast_hours=4)
"""Proves things on few counts, so that examples are about what is near a proof."""
CALM = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""A busy machine is no failure."""
COUNTS = st.tuples(st.integers(0, 9), st.integers(0, 60)).map(lambda pair: (min(pair), max(pair)))
HOURS = st.dictionaries(st.integers(0, 50).map(lambda hour: HOUR + hour * H), COUNTS, max_size=20)


def flat(*spans: tuple[int, int, int], start: int = HOUR) -> dict[int, tuple[int, int]]:
    """Spans of (hours, hits an hour, trials an hour), one after the other."""
    pairs = [(hits, trials) for hours, hits, trials in spans for _ in range(hours)]
    return {start + index * H: pair for index, pair in enumerate(pairs)}


def read(
    counted: Mapping[int, tuple[int, int]], at: int, machine: Machine | None = None, rule: Rule = RULE
) -> Reading:
    """At the end of the `at`-th hour."""
    detector = Detector(rule, Series.of(counted), LATE_H)
    return detector.reading(machine or Machine(), (HOUR + at * H) * 1000)


def test_the_worst_severity_is_told_that_is_proven_with_its_limit() -> None:
    within, above, far_above = (read(flat((24, hits, 2000)), 24) for hits in (2, 5, 20))
    assert (within.proven, within.limit, within.e_value is not None) == (None, 0.001, True)
    assert within.e_value is not None
    assert within.e_value < 100
    assert (above.proven, above.limit, above.rate) == ("warning", 0.001, 0.0025)
    assert (far_above.proven, far_above.limit, far_above.rate) == ("critical", 0.003, 0.01)
    assert min(above.e_value or 0, far_above.e_value or 0) >= RULE.threshold


def test_it_carries_its_evidence() -> None:
    found = read(flat((40, 0, 500), (3, 10, 500)), 43)
    assert found.proven == "critical"
    assert found.last_hit == (HOUR + 43 * H) * 1000
    low, high = found.facts.pop("rate_low"), found.facts.pop("rate_high")
    assert (low, high) == (pytest.approx(0.013534, abs=1e-6), pytest.approx(0.028429, abs=1e-6))
    assert found.facts == {
        "hits": 30,
        "trials": 1500,
        "since": "2025-10-11T04:00:00+00:00",
        "hours": 3,
        "scale": "fast",
        "threshold_hours": 8760.0,
        "mean_days_between_false_pages": 365.0,
    }
    assert read(flat((40, 0, 500), (9, 3, 500)), 49).facts["scale"] == "slow"


def test_without_evidence_there_is_nothing_but_the_time() -> None:
    for counted in ({}, flat((5, 0, 0)), flat((5, 0, 100), start=HOUR + 9 * H)):
        found = read(counted, 5)
        assert (found.proven, found.rate, found.last_hit, found.facts) == (None, None, 0, {})
    assert read(flat((5, 0, 100)), 5).rate == 0.0


@given(HOURS, st.integers(0, 50), st.integers(1, 3_600_000))
@settings(CALM, max_examples=60)
def test_an_instant_knows_nothing_of_hours_that_begin_at_it_or_later(
    counted: dict[int, tuple[int, int]], hour: int, ms: int
) -> None:
    time = (HOUR + hour * H) * 1000 + ms
    known = {each: pair for each, pair in counted.items() if each * 1000 < time}
    for machine in (Machine(), Machine(state="firing", incident=1, entered=HOUR * 1000)):
        detectors = [Detector(QUICK, Series.of(each), LATE_H) for each in (counted, known)]
        assert detectors[0].reading(machine, time) == detectors[1].reading(machine, time)


@given(HOURS, st.data(), st.integers(0, 51))
@settings(CALM, max_examples=60)
def test_what_is_known_early_never_shows_more(
    counted: dict[int, tuple[int, int]], data: st.DataObject, hour: int
) -> None:
    early = {each: (data.draw(st.integers(0, hits)), trials) for each, (hits, trials) in counted.items()}
    first, last = (read(each, hour, rule=QUICK) for each in (early, counted))
    order = (None, *SEVERITIES)
    assert order.index(first.proven) <= order.index(last.proven)


@given(
    HOURS,
    st.sampled_from([0, HOUR + 7 * H, HOUR + 20 * H]),
    st.sampled_from([QUICK, replace(DRIFT, notice=0.3)]),
)
@settings(CALM, max_examples=50)
def test_candidates_are_all_the_boundaries_that_need_a_look(
    counted: dict[int, tuple[int, int]], since: int, rule: Rule
) -> None:
    detector = Detector(rule, Series.of(counted), LATE_H)
    machine = Machine(since=since)
    boundaries = [(HOUR + hour * H) * 1000 for hour in range(52)]
    proven = {time for time in boundaries if detector.reading(machine, time).proven}
    candidates: set[int] = set()
    after: int | None = 0
    while (after := detector.next_candidate(since, after)) is not None:
        candidates.add(after)
        assert detector.next_candidate(since, after - 1) == after
    with_data = {(hour + H) * 1000 for hour, (_, trials) in counted.items() if trials}
    # A proof outlasts hours without data, but it does not begin in one.
    assert rule.signal == "baseline_drift" or proven & with_data <= candidates
    assert bool(candidates) == detector.could_prove(since)
    if proven:
        assert min(proven) in candidates
    if sum(hits for hits, _ in counted.values()) < least_hits(rule):
        assert not proven


@pytest.mark.parametrize("limit", [0.0001, 0.001, 0.05, 0.2])
def test_no_proof_takes_fewer_hits_than_the_least(limit: float) -> None:
    rule = replace(RULE, warning=limit, critical=None)
    least = least_hits(rule)

    def best(hits: int) -> Reading:
        """Nothing but hits, after two weeks of silence."""
        return read({HOUR + 336 * H: (hits, hits)}, 337, Machine(since=HOUR + H), rule)

    assert best(least).proven == "warning"
    assert best(least - 1).proven is None


def test_evidence_of_before_since_and_of_long_ago_counts_no_more() -> None:
    counted = flat((10, 5, 500), (400, 0, 1))
    assert read(counted, 10).proven == "critical"
    assert read(counted, 10, Machine(since=HOUR + 10 * H)).proven is None
    assert read(counted, 345).rate == 5 / (500 + 335)
    assert read(counted, 346).rate == 0.0


def test_a_silent_stretch_lends_its_weight_to_the_hour_after_it() -> None:
    alone = read({HOUR: (3, 400)}, 1)
    after_silence = read({HOUR - 100 * H: (0, 1), HOUR: (3, 400)}, 1)
    assert alone.e_value is not None
    assert after_silence.e_value == pytest.approx(101 * alone.e_value, rel=0.01)


class TestRecovery:
    firing = Machine(seq=1, state="firing", severity="critical", incident=1, entered=(HOUR + 3 * H) * 1000)
    counted = flat((3, 10, 500), (60, 0, 500))

    def recovered(self, counted: Mapping[int, tuple[int, int]], rule: Rule = RULE) -> list[int]:
        """Hours after which it is told."""
        times = range(4, 64)
        return [at for at in times if read(counted, at, self.firing, rule).clean_since is not None]

    def test_it_is_told_once_proven_on_hours_whose_hits_have_come(self) -> None:
        told = self.recovered(self.counted)
        assert told == list(range(told[0], 64))
        assert 12 < told[0] < 24
        assert read(self.counted, told[0], self.firing).clean_since == HOUR + 3 * H
        later = dict.fromkeys((HOUR + (told[0] - hour) * H for hour in range(1, LATE_H)), (30, 500))
        assert told[0] in self.recovered(self.counted | later)
        matured = {HOUR + (told[0] - LATE_H) * H: (30, 500)}
        assert told[0] not in self.recovered(self.counted | matured)

    def test_it_takes_longer_evidence_for_a_longer_hold(self) -> None:
        longer = self.recovered(self.counted, replace(RULE, hold_hours=48.0))
        assert longer[0] > self.recovered(self.counted)[0]

    def test_at_the_limit_there_is_none(self) -> None:
        assert not self.recovered(flat((3, 10, 500), (60, 1, 1000)))

    def test_hours_before_the_incident_prove_none(self) -> None:
        late = replace(self.firing, entered=(HOUR + 50 * H) * 1000)
        assert read(self.counted, 63, late).clean_since is None

    def test_a_relapse_takes_the_square_root_of_the_evidence_since_it(self) -> None:
        counted = flat((3, 10, 500), (30, 0, 500), (1, 5, 500))
        recovering = replace(self.firing, state="recovering", clean_since=HOUR + 20 * H)
        found = read(counted, 34, recovering)
        assert found.relapsed
        assert not read(counted, 33, recovering).relapsed
        assert not read(counted, 34, replace(recovering, clean_since=HOUR + 34 * H)).relapsed
        weaker = flat((3, 10, 500), (30, 0, 500), (1, 4, 500))
        assert not read(weaker, 34, recovering).relapsed

    def test_neither_is_asked_of_a_key_that_is_well(self) -> None:
        found = read(self.counted, 60, Machine(since=HOUR + 3 * H))
        assert (found.clean_since, found.relapsed) == (None, False)


class TestDrift:
    def test_a_rise_within_the_limit_is_told_against_the_past(self) -> None:
        calm, rise = (200, 1, 5000), (12, 4, 5000)
        found = read(flat(calm, rise), 212, rule=DRIFT)
        assert found.proven == "notice"
        assert found.limit == pytest.approx(200 / 1_000_000, rel=0.2)
        assert found.facts["of"] == "complaint_rate"
        assert read(flat(calm, (12, 1, 5000)), 212, rule=DRIFT).proven is None
        assert read(flat((200, 4, 5000), rise), 212, rule=DRIFT).proven is None

    def test_what_is_far_below_the_limit_is_of_no_interest(self) -> None:
        found = read(flat((200, 0, 50_000), (12, 4, 50_000)), 212, rule=DRIFT)
        assert (found.proven, found.limit) == (None, pytest.approx(0.0001))
        assert read(flat((200, 0, 50_000), (12, 20, 50_000)), 212, rule=DRIFT).proven == "notice"

    def test_without_a_past_there_is_no_drift(self) -> None:
        assert read(flat((24, 50, 1000)), 24, rule=DRIFT).proven is None
        assert read(flat((24, 50, 1000)), 24, rule=DRIFT).limit is None


def test_a_reading_is_of_plain_numbers() -> None:
    found = read(flat((40, 0, 500), (3, 10**7, 10**8)), 43)
    assert not any(
        isinstance(each, np.generic) for each in (found.rate, found.e_value, *found.facts.values())
    )
    assert found.e_value is not None
    assert found.e_value > 1e300
