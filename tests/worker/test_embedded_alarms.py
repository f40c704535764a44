"""Alarms of an embedded instance: they go on from ClickHouse, whatever had landed there."""

from __future__ import annotations

import random
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from alarm_model import BAD, RULES, Crew, mails, world
from counting_model import HOUR_S, NOON_S, Worker, World
from crashes import Crash
from test_embedded_memory import Memory, repair

from schemas import topics

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

HOURLY = [4] * 1000


class Instance(Crew):
    """One worker, whose state is restored from ClickHouse."""

    def rebalance(self) -> None:
        repair(self.world)
        self.world.meanwhile = lambda: None
        self.workers = [Worker(self.world, Memory(self.world))]
        self.workers[0].assign(frozenset(range(self.world.partitions)))

    def do(self, process: object, move: Callable[[], object]) -> bool:
        """Any crash is one of everything."""
        return bool(move())

    def land(self) -> None:
        while self.sink.land(topics.ALARMS, 100):
            pass


def reborn(made: World) -> Instance:
    """An instance with a new broker, that knows of the one before what has landed."""
    made.logs.clear()
    made.committed.clear()
    return Instance(made, most=1)


def landed(made: World) -> list[tuple[int, str]]:
    rows = sorted(made.clickhouse.alarms.items())
    return [(seq, row["cause"]) for (key, seq), row in rows if key == BAD and row["cause"] != "escalated"]


def test_it_goes_on_where_it_was(tmp_path: Path) -> None:
    made = world(random.Random(1), tmp_path)
    trouble = mails(0, "bad", 12, 6)
    made.write_events(trouble, HOURLY[: len(trouble)])
    made.pass_time(600)
    with Instance(made, most=1) as instance:
        instance.drain()
        instance.land()
    assert [cause for _, cause in landed(made)] == ["evidence"]
    known = len(made.clickhouse.alarms)
    with reborn(made) as instance:
        instance.tick()
        instance.drain()
        instance.land()
        assert len(made.clickhouse.alarms) == known, "a restart brought news"
        instance.hours(8)
        instance.land()
    assert [cause for _, cause in landed(made)] == ["evidence", "quiet", "quiet"]
    with reborn(made) as instance:
        instance.tick()
        instance.land()
    assert [cause for _, cause in landed(made)] == ["evidence", "quiet", "quiet"]


@pytest.mark.parametrize("hours", [0, 30 * 24])
def test_what_had_not_landed_is_told_again(tmp_path: Path, hours: int) -> None:
    """The rates had landed, and nothing more comes of that campaign; of live traffic, and of a replay of old data."""
    made = world(random.Random(1), tmp_path, now_s=NOON_S + hours * HOUR_S, retention_days=14)
    trouble = mails(0, "bad", 12, 6)
    rows = [*trouble, *mails(100, "good", 5, 0)]
    made.write_events(rows, HOURLY[: len(rows)])
    made.pass_time(600)
    with Instance(made, most=1) as instance:
        instance.drain()
    assert not made.clickhouse.alarms
    with reborn(made) as instance:
        made.write_events(mails(200, "good", 1, 0), [1])
        instance.drain()
        instance.land()
    assert landed(made)[0] == (1, "evidence")
    assert {key for key, _ in made.clickhouse.alarms} == {BAD}
    first = made.clickhouse.alarms[BAD, 1]
    assert (first["time"].timestamp() <= NOON_S + HOUR_S) is (hours > 0 or made.now_s <= NOON_S + HOUR_S)


def test_a_crash_of_everything_at_any_time_ends_in_the_same_alarms(tmp_path: Path) -> None:
    for number in range(0, 60, 2):
        made = world(random.Random(number), tmp_path, RULES, crashes={number})
        trouble = [*mails(0, "bad", 12, 6), *mails(100, "good", 5, 0)]
        made.write_events(trouble, HOURLY[: len(trouble)])
        made.pass_time(600)
        with Instance(made, most=1) as instance, suppress(Crash):
            instance.drain()
            instance.land()
        made.crashes.clear()
        with reborn(made) as instance:
            made.write_events(trouble, HOURLY[: len(trouble)])
            instance.tick()
            instance.drain()
            instance.land()
        assert landed(made) == [(1, "evidence")], number
        assert made.clickhouse.alarms[max(made.clickhouse.alarms)]["severity"] == "critical"
