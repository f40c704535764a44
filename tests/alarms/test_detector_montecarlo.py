"""How rarely the shipped test and state machine are wrong and how soon they are right, on seeded streams.

`make bench-alarms` measures the same at length.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from pipelines.alarms.detector import Detector
from pipelines.alarms.machine import Machine, advance
from pipelines.alarms.rule import Rule
from pipelines.alarms.series import Series

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

H = 3600
HOUR = 1_760_011_200
LIMIT = 0.001
RULE = Rule("complaint_rate", "complaint_rate", warning=LIMIT, critical=3 * LIMIT)
HOURS_A_YEAR = 8766


def opened(trials: NDArray[np.int64], hits: NDArray[np.int64]) -> Iterator[int]:
    """The hours at whose end an incident opens, of a key that is looked at every hour."""
    hours = HOUR + H * np.arange(len(trials))
    some = trials > 0
    detector = Detector(RULE, Series(hours[some], hits[some], trials[some]), late_h=6)
    machine, time = Machine(), 0
    end = (HOUR + len(trials) * H) * 1000
    while time < end:
        if machine.is_open:
            time += H * 1000
        elif (later := detector.next_candidate(machine.since, time)) is not None:
            time = later
        else:
            break
        machine, transition = advance(machine, RULE, detector.reading(machine, time))
        if transition is not None and transition.cause == "evidence":
            yield (time // 1000 - HOUR) // H


@pytest.mark.parametrize(("volume", "keys"), [(50, 300), (500, 300)])
@pytest.mark.parametrize("pattern", ["flat", "daily"])
def test_it_is_wrong_less_than_once_a_year(volume: int, keys: int, pattern: str) -> None:
    """With the rate exactly at the limit, which is the worst; the bound is half of what is promised."""
    rng = np.random.default_rng(20)
    shape = np.ones(24) if pattern == "flat" else np.repeat([0, 2, 1], 8)
    trials = np.tile((volume * shape).astype(np.int64), 28)
    pages = sum(1 for _ in range(keys) for _ in opened(trials, rng.binomial(trials, LIMIT)))
    years = keys * len(trials) / HOURS_A_YEAR
    assert 0 < pages < 0.6 * years


@pytest.mark.parametrize(
    ("volume", "multiple", "within_h"), [(50, 5, 36), (500, 5, 6), (5000, 5, 1), (500, 2, 40), (5000, 2, 6)]
)
def test_it_finds_what_is_wrong_in_time(volume: int, multiple: int, within_h: int) -> None:
    rng = np.random.default_rng(5)
    calm = 7 * 24
    trials = np.full(calm + 10 * within_h, volume)
    rates = np.where(np.arange(len(trials)) < calm, LIMIT / 2, LIMIT * multiple)
    delays = []
    for _ in range(60):
        hours = opened(trials, rng.binomial(trials, rates))
        delays.append(next((hour - calm for hour in hours if hour > calm), len(trials)))
    assert np.median(delays) <= within_h
