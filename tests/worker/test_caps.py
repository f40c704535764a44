"""A dimension beyond its cap: what values without counters of their own count is in `(other)`, and nothing is lost."""

from __future__ import annotations

import os
import random
from typing import Any

import pytest
from counting_model import World
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from storms import Fleet, stories

from schemas.counters import COUNTERS, OTHER_VALUE

Row = dict[str, Any]
CAMPAIGNS = tuple("abcdefgh")
SMALL = {"dimensions": ("account", "campaign", "tag:team", "provider"), "dimension_cap": 2}

few = settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
often = int(os.environ.get("CHAOS_SEEDS", "2"))
many = settings(max_examples=50 * often, deadline=None, suppress_health_check=list(HealthCheck))


def capped(world: World) -> dict[tuple[str, str, int], tuple[int, ...]]:
    """The truth, with all that has no row of its own in `(other)`."""
    shown, expected = world.clickhouse.shown(), {}
    for (name, value, hour), counters in world.clickhouse.truth().items():
        key = (name, value if (name, value, hour) in shown else OTHER_VALUE, hour)
        known = expected.get(key, (0,) * len(COUNTERS))
        expected[key] = tuple(map(sum, zip(known, counters, strict=True)))
    return expected


def nothing_is_lost(rows: list[Row], seed: int, crashes: set[int]) -> World:
    world = World(random.Random(seed), crashes=crashes, **SMALL)
    cut = world.rng.randint(0, len(rows))
    with Fleet(world) as fleet:
        for part in (rows[:cut], rows[cut:]):
            world.write_events(part, [world.rng.randint(1, 4) for _ in part])
            fleet.storm(world.rng.randint(0, 20))
    assert world.clickhouse.shown() == capped(world)
    return world


@few
@given(
    stories(most=16, least=5, copies=2, campaigns=CAMPAIGNS),
    st.integers(0, 2**32),
    st.sets(st.integers(0, 200), max_size=6),
)
def test_each_hour_of_a_value_is_whole_its_own_or_of_the_others(
    rows: list[Row], seed: int, crashes: set[int]
) -> None:
    nothing_is_lost(rows, seed, crashes)


@pytest.mark.chaos
@pytest.mark.timeout(900)
@many
@given(
    stories(most=24, least=5, copies=3, campaigns=CAMPAIGNS),
    st.integers(0, 2**32),
    st.sets(st.integers(0, 300), max_size=8),
)
def test_many_more(rows: list[Row], seed: int, crashes: set[int]) -> None:
    nothing_is_lost(rows, seed, crashes)


@settings(few, max_examples=10)
@given(
    stories(most=24, least=8, copies=1, campaigns=CAMPAIGNS, hours=(0, -1)),
    st.integers(0, 2**32),
)
def test_no_more_values_than_the_cap_have_rows(rows: list[Row], seed: int) -> None:
    world = nothing_is_lost(rows, seed, set())
    own = {value for name, value, _ in world.clickhouse.shown() if name == "campaign"} - {OTHER_VALUE}
    assert len(own) <= SMALL["dimension_cap"]
