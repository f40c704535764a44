"""Any order, repetition, splitting into blocks, crash and rebalance: the rates are those of a naive count."""

from __future__ import annotations

import os
import random
from typing import Any

import pytest
from counting_model import World
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from storms import Fleet, stories

from schemas.counters import COUNTERS

Row = dict[str, Any]
DIMENSIONS = ("account", "campaign", "provider", "provider_campaign", "tag:team", "feedback_ab")
OPEN = (0, 0, -1, -2, 1)
"""Hours that stay open whatever comes."""

few = settings(max_examples=40, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
often = int(os.environ.get("CHAOS_SEEDS", "2"))
many = settings(max_examples=80 * often, deadline=None, suppress_health_check=list(HealthCheck))


def weather(rows: list[Row], data: st.DataObject, **facts: Any) -> World:
    """Let it happen; how it ended."""
    world = World(
        random.Random(data.draw(st.integers(0, 2**32), label="schedule")),
        crashes=data.draw(st.sets(st.integers(0, 150), max_size=8), label="crashes"),
        skew_s=data.draw(st.sampled_from((0, 0, 172_800, -172_800)), label="skew"),
        **facts,
    )
    sizes = [world.rng.randint(1, 4) for _ in rows]
    half = world.rng.randint(0, len(rows))
    world.write_events(rows[:half], sizes[:half])
    with Fleet(world) as fleet:
        fleet.storm(world.rng.randint(0, 20))
        world.write_events(rows[half:], sizes[half:])
        fleet.storm(world.rng.randint(0, 20))
    assert set(world.clickhouse.events) == {(row["event_id"], row["tagged"]) for row in rows}
    assert not world.clickhouse.letters
    return world


def rates_are_those_of_a_naive_count(rows: list[Row], data: st.DataObject) -> None:
    world = weather(rows, data, dimensions=DIMENSIONS)
    assert world.clickhouse.shown() == world.clickhouse.truth()


@few
@given(stories(hours=OPEN), st.data())
def test_open_hours(rows: list[Row], data: st.DataObject) -> None:
    rates_are_those_of_a_naive_count(rows, data)


@few
@given(stories(), st.data())
def test_hours_that_close_expire_and_lie_ahead(rows: list[Row], data: st.DataObject) -> None:
    rates_are_those_of_a_naive_count(rows, data)


@pytest.mark.chaos
@pytest.mark.timeout(900)
@many
@given(stories(most=14), st.data())
def test_many_more(rows: list[Row], data: st.DataObject) -> None:
    rates_are_those_of_a_naive_count(rows, data)


@settings(few, max_examples=15)
@given(stories(campaigns=("spring", "autumn"), recipients=1, reports=False), st.data())
def test_campaigns_and_providers_sum_to_the_account(rows: list[Row], data: st.DataObject) -> None:
    tagged = [row for row in rows if row["tagged"]]
    world = weather(tagged, data) if tagged else None
    for dimension in ("campaign", "provider") if world else ():
        assert sums(world, dimension) == sums(world, "account")


def sums(world: World, dimension: str) -> dict[int, list[int]]:
    """Of all values of a dimension, by hour."""
    found: dict[int, list[int]] = {}
    for (name, _, hour), counters in world.clickhouse.shown().items():
        if name == dimension:
            known = found.setdefault(hour, [0] * len(COUNTERS))
            found[hour] = [one + other for one, other in zip(known, counters, strict=True)]
    return found
