"""The sum of likelihood ratios: what its promise rests on, by enumeration, and against the plainest way to write it."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.alarms.evidence import NOTHING, Evidence
from pipelines.alarms.mixture import ABOVE, BELOW, Mixture, above, below
from pipelines.alarms.series import Series

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

H = 3600
HOUR = 1_760_011_200
CALM = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
"""A busy machine is no failure."""
LIMITS = st.sampled_from([0.0001, 0.001, 0.003, 0.01, 0.05, 0.1, 0.2])
COUNTS = st.tuples(st.integers(0, 40), st.integers(0, 2000)).map(lambda pair: (min(pair), max(pair)))
HOURS = st.dictionaries(st.integers(0, 60).map(lambda hour: HOUR + hour * H), COUNTS, max_size=14)


def outcomes(trials: Sequence[int], rates: Sequence[float]) -> Iterator[tuple[float, tuple[int, ...]]]:
    """Every way that trials of so many hours may turn out, with its probability."""
    for hits in itertools.product(*(range(n + 1) for n in trials)):
        chance = 1.0
        for k, n, p in zip(hits, trials, rates, strict=True):
            chance *= math.comb(n, k) * p**k * (1 - p) ** (n - k)
        yield chance, hits


def series_of(hours: Sequence[int], hits: Sequence[int], trials: Sequence[int]) -> Series:
    return Series.of(dict(zip(hours, zip(hits, trials, strict=True), strict=True)))


@pytest.mark.parametrize("limit", [0.001, 0.05, 0.2])
@pytest.mark.parametrize(
    ("mixture", "parts"),
    [(above, (1, 1, 1)), (above, (0.3, 1, 0.9)), (below, (1, 1, 1)), (below, (1, 1.7, 1.2))],
)
def test_its_expectation_is_at_most_the_number_of_hours(
    limit: float, mixture: Callable[[float], Mixture], parts: tuple[float, ...]
) -> None:
    trials, hours = (4, 3, 5), (HOUR, HOUR + H, HOUR + 6 * H)
    mean = sum(
        chance * math.exp(Evidence(series_of(hours, hits, trials), mixture(limit)).at(3, HOUR - 2 * H).log)
        for chance, hits in outcomes(trials, [limit * part for part in parts])
    )
    hours_looked_at = 9  # from two before the first to the last
    if parts == (1, 1, 1):
        assert mean == pytest.approx(hours_looked_at)
    else:
        assert 1 < mean < hours_looked_at * 0.9999


@pytest.mark.parametrize("limit", [0.01, 0.2])
@pytest.mark.parametrize("threshold", [4.0, 40.0])
def test_so_it_is_whenever_one_stops(limit: float, threshold: float) -> None:
    """E[M] at the first hour at which M reaches a threshold is E[that hour], so that hour is late in the mean."""
    trials = (5, 1, 4, 4)
    hours = [HOUR + index * H for index in range(len(trials))]
    evidence = stopped = 0.0
    for chance, hits in outcomes(trials, [limit] * len(trials)):
        tested = Evidence(series_of(hours, hits, trials), above(limit))
        sums = [math.exp(tested.at(end, HOUR).log) for end in range(1, 5)]
        stop = next((index for index, each in enumerate(sums) if each >= threshold), 3)
        evidence += chance * sums[stop]
        stopped += chance * (stop + 1)
    assert evidence == pytest.approx(stopped)


def plain(
    counted: Mapping[int, tuple[int, int]], odds: Mapping[float, float], limit: float, first: int
) -> float:
    """Log of the sum, over every single hour since `first`, of the weighted likelihood ratios since it."""
    last = max((hour for hour, (_, trials) in counted.items() if trials), default=None)
    terms = []
    for start in range(first, (last or 0) + 1, H):
        since = [pair for hour, pair in counted.items() if hour >= start]
        hits, trials = sum(k for k, _ in since), sum(n for _, n in since)
        for multiple, weight in odds.items():
            rate = limit * multiple / (1 - limit + limit * multiple)
            ratio = hits * math.log(rate / limit) + (trials - hits) * math.log((1 - rate) / (1 - limit))
            terms.append(math.log(weight) + ratio)
    top = max(terms, default=NOTHING)
    return top + math.log(sum(math.exp(term - top) for term in terms)) if terms else NOTHING


@CALM
@given(HOURS, LIMITS, st.integers(-3, 60))
def test_it_is_the_sum_over_every_hour(counted: dict[int, tuple[int, int]], limit: float, since: int) -> None:
    series = Series.of(counted)
    first = HOUR + since * H
    for mixture, odds in ((above(limit), ABOVE), (below(limit), BELOW)):
        found = Evidence(series, mixture).at(len(series), first).log
        assert found == pytest.approx(plain(counted, odds, limit, first), abs=1e-6)


@CALM
@given(HOURS, LIMITS, st.data())
def test_more_hits_are_more_evidence(
    counted: dict[int, tuple[int, int]], limit: float, data: st.DataObject
) -> None:
    fewer = {hour: (data.draw(st.integers(0, hits)), trials) for hour, (hits, trials) in counted.items()}
    partial, full = Series.of(fewer), Series.of(counted)
    less, more = (Evidence(each, above(limit)).at(len(each), HOUR).log for each in (partial, full))
    assert less <= more + 1e-9


@CALM
@given(LIMITS, st.integers(1, 1000), st.data())
def test_each_hit_adds_evidence(limit: float, trials: int, data: st.DataObject) -> None:
    hits = data.draw(st.integers(0, trials - 1))
    less, more = (
        Evidence(Series.of({HOUR: (each, trials)}), above(limit)).at(1, HOUR).log for each in (hits, hits + 1)
    )
    assert more - less > 0.1


@CALM
@given(HOURS, LIMITS, LIMITS)
def test_what_is_shown_against_a_limit_is_shown_against_all_lower_ones(
    counted: dict[int, tuple[int, int]], one: float, other: float
) -> None:
    series = Series.of(counted)
    least, most = (Evidence(series, above(each)).at(len(series), HOUR).log for each in sorted((one, other)))
    assert most <= least + 1e-9


@CALM
@given(HOURS, LIMITS, st.integers(0, 60), st.integers(0, 60))
def test_fewer_starts_are_less_evidence(
    counted: dict[int, tuple[int, int]], limit: float, one: int, other: int
) -> None:
    series = Series.of(counted)
    tested = Evidence(series, above(limit))
    early, late = sorted((HOUR + one * H, HOUR + other * H))
    assert tested.at(len(series), late).log <= tested.at(len(series), early).log + 1e-9


@CALM
@given(HOURS, LIMITS, st.integers(0, 40), st.sampled_from([1, 10_000]), st.floats(-1.0, 12.0))
def test_hours_that_reach_a_threshold_are_found_in_one_pass(
    counted: dict[int, tuple[int, int]], limit: float, since: int, larger: int, log: float
) -> None:
    series = Series.of({hour: (k * larger, n * larger) for hour, (k, n) in counted.items()})
    tested, first = Evidence(series, above(limit)), HOUR + since * H
    each = [tested.at(end, first).log for end in range(1, len(series) + 1)]
    if not any(abs(found - log) < 1e-6 for found in each):
        expected = [hour for hour, found in zip(series.hours.tolist(), each, strict=True) if found >= log]
        assert tested.reaching(log, first).tolist() == expected


@pytest.mark.parametrize("limit", [0.0001, 0.001, 0.2])
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_huge_counts_are_no_trouble(limit: float, share: float) -> None:
    trials = 100_000_000
    counted = {
        HOUR + index * H: (int(trials * (share if index > 167 else 0)), trials) for index in range(336)
    }
    tested = Evidence(Series.of(counted), above(limit))
    found = tested.at(336, HOUR)
    assert math.isfinite(found.log)
    assert (found.log > 1e6) == (share > 0)
    assert found.start == (168 if share else 335)
    reaching = tested.reaching(math.log(8760), HOUR)
    assert reaching.tolist() == [HOUR + index * H for index in range(168, 336) if share]


def test_weights_are_a_distribution_and_rates_lie_on_their_side() -> None:
    for limit in (0.0001, 0.001, 0.05, 0.2, 0.9):
        for mixture, sign in ((above(limit), 1), (below(limit), -1)):
            rates = limit * np.exp(mixture.hit)
            assert mixture.weights.sum() == pytest.approx(1.0)
            assert ((rates - limit) * sign > 0).all()
            assert ((rates > 0) & (rates < 1)).all()
            assert mixture.miss == pytest.approx(np.log((1 - rates) / (1 - limit)))


def test_a_series_is_sorted_and_leaves_out_hours_without_trials() -> None:
    series = Series.of({HOUR + H: (1, 9), HOUR + 2 * H: (0, 0), HOUR: (3, 2)})
    assert series.hours.tolist() == [HOUR, HOUR + H]
    assert series.hits.tolist() == [3, 1]
    assert series.trials.tolist() == [3, 9]
    assert series.last_hit(1) == (HOUR + H) * 1000
    assert [series.before((HOUR + H) * 1000 + ms) for ms in (0, 1)] == [1, 2]
    assert len(Series.of({})) == 0
