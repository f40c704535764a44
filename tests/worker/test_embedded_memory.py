"""An embedded instance: its broker forgets, ClickHouse remembers. Any part that dies takes all others with it."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

import naive
import numpy as np
from counting_model import HOUR_S, NOON_S, Worker, World
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from naive import milliseconds
from storms import Fleet, event, stories

from pipelines.counting.reported import BY_REPORT, columns, marked
from schemas.counters import COUNTERS

if TYPE_CHECKING:
    from collections.abc import Iterator

Row = dict[str, Any]


class Memory:
    """What the tables of a world's ClickHouse say (`pipelines.counting.memory.Memory`)."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.rates = world.clickhouse.rates

    def watermark(self) -> int:
        hours = (
            milliseconds(row["event_time"]) // 3_600_000 for row in self.world.clickhouse.events.values()
        )
        return max((hour for hour in hours if hour <= self.world.now_s // HOUR_S), default=0)

    def seen(self, since: int) -> Iterator[Any]:
        for row in self.world.clickhouse.events.values():
            hour = milliseconds(row["sent_time"]) // 3_600_000
            if hour >= since:
                key = int.from_bytes(row["event_id"][:8], "little") & ~1 | row["tagged"]
                keys = [key, *marks_of(row, hour, self.world.dimensions)]
                yield np.full(len(keys), hour), np.array(keys, dtype=np.uint64)

    def machines(self) -> Iterator[tuple[str, bytes]]:
        last: dict[str, Row] = {}
        for (key, _), row in sorted(self.world.clickhouse.alarms.items()):
            last[key] = row
        yield from ((key, row["machine"]) for key, row in last.items())

    def sent(self, _days: int) -> Iterator[Any]:
        yield from ()

    def citing(self, _days: int) -> Iterator[Any]:
        yield from ()

    def received(self, _days: int) -> Iterator[Any]:
        yield from ()

    def members(self) -> Iterator[Any]:
        yield from ()

    def told(self) -> Iterator[bytes]:
        yield from ()

    def counters(self, days: int) -> Iterator[tuple[str, str, int, tuple[int, ...]]]:
        past = [hour for _, _, hour in self.rates if hour <= self.world.now_s]
        for (dimension, value, hour), row in sorted(self.rates.items()):
            counters = tuple(row[name] for name in COUNTERS)
            if any(counters) and hour >= max(past, default=0) - days * 86_400:
                yield dimension, value, hour, counters

    def last_version(self) -> int:
        return max((row["version"] for row in self.rates.values()), default=0)


def marks_of(row: Row, hour: int, dimensions: tuple[str, ...]) -> Iterator[int]:
    """Marks of the things that an event is about, if it counts as such."""
    common, rest = columns(dimensions)
    report = row["origin"] in naive.REPORTS
    for person, counter in naive.hits(row):
        thing = naive.thing_of(row, person, counter)
        if thing is None or (counter == "blocks" and not report):
            continue
        alone = marked(thing[0], thing[1], thing[2] if len(thing) > 2 else "", str(hour))
        shared = [person.get("provider", ""), *(str(row[name]) for name in common)]
        if report:
            yield alone ^ BY_REPORT
        elif row["tagged"]:
            yield alone | 1
            yield alone ^ marked("whole", *shared, *(str(row[name]) for name in rest))
        else:
            yield alone
            yield alone ^ marked("common", *shared)


def repair(world: World) -> None:
    """Let rates say what the events say."""
    house = world.clickhouse
    truth, zeros = house.truth(), (0,) * len(COUNTERS)
    for key in truth.keys() | house.rates.keys():
        counters = truth.get(key, zeros)
        known = house.rates.get(key)
        if known is None or tuple(known[name] for name in COUNTERS) != counters:
            version = max(world.now_s * 1_000_000, known["version"] + 1 if known else 0)
            names = dict(zip(("dimension", "value", "hour"), key, strict=True))
            house.rates[key] = names | {"version": version} | dict(zip(COUNTERS, counters, strict=True))


class Instance(Fleet):
    """One worker, whose state is restored from ClickHouse; no crash is survived by anyone."""

    def rebalance(self) -> None:
        repair(self.world)
        self.workers = [Worker(self.world, Memory(self.world))]
        self.workers[0].assign(frozenset(range(self.world.partitions)))


def lived(world: World, rows: list[Row], lives: int) -> None:
    """Lives of an instance: each begins with an empty broker, and the sources give again what has not landed."""
    rng = world.rng
    for life in range(lives):
        world.logs.clear()
        world.committed.clear()
        landed = world.clickhouse.events.keys()
        given = [row for row in rows if (row["event_id"], row["tagged"]) not in landed or rng.random() < 0.3]
        world.write_events(given, [rng.randint(1, 4) for _ in given])
        with Instance(world) as instance:
            moves = instance.calm_moves
            for _ in range(rng.randint(0, 25)):
                instance.do(*rng.choice(moves()))
            if life == lives - 1:
                instance.drain()
        world.pass_time(rng.choice((0, 60, HOUR_S, 31 * HOUR_S)))


@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(stories(copies=3), st.integers(0, 2**32), st.integers(1, 4))
def test_no_death_of_an_instance_changes_a_rate(rows: list[Row], seed: int, lives: int) -> None:
    world = World(random.Random(seed), dimensions=("account", "campaign", "tag:team", "provider"))
    lived(world, rows, lives)
    assert set(world.clickhouse.events) == {(row["event_id"], row["tagged"]) for row in rows}
    assert world.clickhouse.shown() == world.clickhouse.truth()


def test_an_hour_that_was_ahead_is_known_when_the_clock_gets_there() -> None:
    """Counted as of the future; then a restart while it still is; then repeated in an hour that is open."""
    world = World(random.Random(1))
    when = (NOON_S + 30 * HOUR_S) * 1000
    tomorrow = event(3, sent_time=when, event_time=when)
    world.write_events([tomorrow, event(0)], [1, 1])
    with Instance(world) as instance:
        instance.drain()
    world.logs.clear()
    world.committed.clear()
    world.pass_time(10 * HOUR_S)
    with Instance(world) as instance:
        world.pass_time(20 * HOUR_S)
        world.write_events([tomorrow, event(6)], [1, 1])
        instance.drain()
    assert world.clickhouse.shown()["account", "1", when // 1000][0] == 1
    assert world.clickhouse.shown() == world.clickhouse.truth()
