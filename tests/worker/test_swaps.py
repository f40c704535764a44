"""Busy values take the places of idle ones in a dimension beyond its cap; whatever happens meanwhile, sums stay."""

from __future__ import annotations

import os
import random
from collections import defaultdict
from typing import Any

import pytest
from counting_model import HOUR_S, NOON_S, World
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from storms import Fleet, event, recipient, stories

from pipelines.counting import caps
from schemas.counters import COUNTERS, OTHER_VALUE

Row = dict[str, Any]
SMALL: dict[str, Any] = {"dimensions": ("account", "campaign", "tag:team"), "dimension_cap": 4}

few = settings(max_examples=30, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
often = int(os.environ.get("CHAOS_SEEDS", "2"))
many = settings(max_examples=30 * often, deadline=None, suppress_health_check=list(HealthCheck))


def lived(parts: list[list[Row]], seed: int, crashes: set[int]) -> World:
    """Let it happen, with volumes compared after nearly every batch; what counts must be right in the end."""
    world = World(random.Random(seed), crashes=crashes, **SMALL)
    with pytest.MonkeyPatch.context() as patch, Fleet(world) as fleet:
        patch.setattr(caps, "LEAST_PERIOD", 3)
        patch.setattr(caps, "PERIOD", 1)
        patch.setattr(caps, "CLEARLY", 1)
        for rows in parts:
            world.write_events(rows, [world.rng.randint(1, 4) for _ in rows])
            fleet.storm(world.rng.randint(0, 20))
    shown, truth = world.clickhouse.shown(), world.clickhouse.truth()
    for key, counters in shown.items():
        assert key[1] == OTHER_VALUE or counters == truth[key]
    assert sums(shown) == sums(truth)
    return world


def sums(table: dict[tuple[str, str, int], tuple[int, ...]]) -> dict[tuple[str, int], list[int]]:
    """Over the values."""
    found: dict[tuple[str, int], list[int]] = defaultdict(lambda: [0] * len(COUNTERS))
    for (name, _, hour), counters in table.items():
        found[name, hour] = [one + other for one, other in zip(found[name, hour], counters, strict=True)]
    return found


@few
@given(
    stories(most=20, least=10, copies=2, campaigns=tuple("abcdefgh"), hours=(0, 0, 0, -1, -1, -5, -13, 1)),
    st.integers(0, 2**32),
    st.sets(st.integers(0, 200), max_size=6),
)
def test_sums_stay_while_values_come_and_go(rows: list[Row], seed: int, crashes: set[int]) -> None:
    third = max(len(rows) // 3, 1)
    lived([rows[:third], rows[third : 2 * third], rows[2 * third :]], seed, crashes)


@pytest.mark.chaos
@pytest.mark.timeout(900)
@many
@given(
    stories(most=30, least=10, copies=3, campaigns=tuple("abcdefgh")),
    st.integers(0, 2**32),
    st.sets(st.integers(0, 300), max_size=8),
)
def test_many_more(rows: list[Row], seed: int, crashes: set[int]) -> None:
    third = max(len(rows) // 3, 1)
    lived([rows[:third], rows[third : 2 * third], rows[2 * third :]], seed, crashes)


def test_the_busiest_values_have_rows_of_their_own_in_the_end() -> None:
    def sent(campaign: str, number: int, hours: int) -> list[Row]:
        time = (NOON_S + hours * HOUR_S) * 1000
        return [
            event(
                next(numbers),
                campaign=campaign,
                sent_time=time,
                event_time=time,
                recipients=[recipient("gmail")],
            )
            for _ in range(number)
        ]

    numbers = iter(range(10_000))
    idle = [row for name in "abcdefgh" for row in sent(name, 1, -3)]
    busy = [row for hours in (-3, -2, -1, 0) for name in "st" for row in sent(name, 30, hours)]
    world = lived([idle, *(busy[start : start + 60] for start in range(0, len(busy), 60))], 1, set())
    own = {(value, hour) for name, value, hour in world.clickhouse.shown() if name == "campaign"}
    assert {("s", NOON_S), ("t", NOON_S)} <= own
    assert ("s", NOON_S - 3 * HOUR_S) not in own
